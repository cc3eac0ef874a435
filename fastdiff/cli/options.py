"""Command-line options from a dataclass of settings: its fields, explained by its docstring."""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Callable
from dataclasses import MISSING, fields
from typing import Annotated, Any

import typer


def help_of(config: type) -> dict[str, str]:
    """The texts of the "Attributes:" section of a docstring."""
    section = (inspect.getdoc(config) or "").partition("Attributes:\n")[2].split("\n\n")[0]
    entries = re.split(r"^    (?=\w+: )", section, flags=re.M)
    pairs = (entry.partition(": ") for entry in entries if entry.strip())
    return {name: " ".join(text.split()) for name, _, text in pairs}


def parameters(config: type, defaults: dict[str, Any], skip: set[str]) -> list[inspect.Parameter]:
    """A keyword parameter for each field but ``skip``; tuples of numbers are written 24,8.

    Args:
        config: a dataclass.
        defaults: by field, in place of the dataclass's own.
        skip: fields that the command line sets itself.
    """
    types, texts, made = typing.get_type_hints(config), help_of(config), []
    for field in fields(config):
        if field.name in skip:
            continue
        default = defaults.get(field.name, field.default)
        if default is MISSING:
            make: Any = field.default_factory
            default = make()
        kind = types[field.name]
        if isinstance(default, tuple):
            kind, default = str, ",".join(map(str, default))
        made.append(_parameter(field.name, kind, default, texts.get(field.name, "")))
    return made


def values(config: type, given: dict[str, Any]) -> dict[str, Any]:
    """The given options that are fields of ``config``, tuples read back."""
    read = {}
    for field in fields(config):
        if field.name in given:
            value = given[field.name]
            if isinstance(field.default, tuple):
                value = tuple(_number(field.name, part) for part in value.split(","))
            read[field.name] = value
    return read


def command(
    function: Callable[[dict[str, Any]], None],
    name: str,
    text: str,
    options: list[inspect.Parameter],
) -> Callable[..., None]:
    """``function`` of a dict of options, as a function with a parameter for each."""

    def run(**given: Any) -> None:
        function(given)

    run.__name__, run.__doc__ = name, text
    run.__signature__ = inspect.Signature(options)  # type: ignore[attr-defined]  # inspect's
    run.__annotations__ = {option.name: option.annotation for option in options}
    return run


def _parameter(name: str, kind: Any, default: Any, text: str) -> inspect.Parameter:
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=default,
        annotation=Annotated[kind, typer.Option(help=text[:1].upper() + text[1:])],
    )


def _number(name: str, text: str) -> int:
    if not text.strip().isdigit():
        raise ValueError(f"{name}: expected numbers such as 24,8, got {text!r}")
    return int(text)

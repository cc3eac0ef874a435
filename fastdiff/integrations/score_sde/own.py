"""Code of other people's that would not be called."""


def refuse_own_code(what: str, given, base: type, called: tuple[str, ...] = ()) -> None:
    """Raise if a class, or an object, has methods of its own beside those of the class that it is
    known by: steps are made from the numbers of that class.

    Args:
        what: the argument.
        base: the class of score_sde in its line.
        called: methods that are called.

    Raises:
        TypeError: it has, and which.
    """
    kind = given if isinstance(given, type) else type(given)
    line = kind.__mro__[: kind.__mro__.index(base)]
    parts = [vars(cls) for cls in line] + (
        [] if kind is given else [getattr(given, "__dict__", {})]
    )
    own = [
        name
        for part in parts
        for name, value in part.items()
        if _is_code(value) and name not in called and (name == "__init__" or name[:2] != "__")
    ]
    if own:
        raise TypeError(
            f"{what}: expected score_sde's {base.__name__}, got {kind.__name__} with "
            f"{', '.join(own)} of its own, which would not be called"
        )


def _is_code(value) -> bool:
    return callable(value) or isinstance(value, (property, classmethod, staticmethod))

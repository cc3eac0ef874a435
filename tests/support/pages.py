"""Markdown pages as tests see them: sections, snippets, names."""

import re
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def read(name):
    return (DOCS / name).read_text()


def sections(page):
    """Text of each second-level section by its title."""
    return dict(re.findall(r"^## (.+?)\n(.+?)(?=^## |\Z)", page, re.M | re.S))


def contents(page):
    """The page's table of contents: title and anchor of each entry."""
    return re.findall(r"^\* \[(.+)\]\(#(.+)\)$", page, re.M)


def anchors(page):
    """What the table of contents has to be."""
    plain = [(title, re.sub(r"[^\w\- ]", "", title.lower())) for title in sections(page)]
    return [(title, text.replace(" ", "-")) for title, text in plain]


def snippets(text, kind=""):
    """Code of the blocks ```python KIND."""
    return re.findall(rf"^```python{kind and ' ' + kind}\n(.+?)^```$", text, re.M | re.S)


def missing_files(page):
    """Linked files, pictures too, that do not exist."""
    paths = [p for p in re.findall(r"\]\(([^)#]+)", page) if not p.startswith("http")]
    return [path for path in paths if not (DOCS / path).exists()]

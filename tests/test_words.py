"""Names that were given up do not come back: the field has standard terms for them."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

#: name -> the term. Old public names that still work stand in strings and are no names here.
TERMS = {
    "adapted": "adjust_weights",
    "adapts": "data_dependent",
    "keeps_anchor": "always_save_state",
    "kept_outside": "stored by the caller",
    "look_of": "fingerprint",
    "looks_back": "multistep",
    "made_from": "cache_key",
    "place_of": "row_index",
    "poison": "fill_nan",
    "quantity": "prediction_target",
    "told": "conditioning",
    "told_by": "model_sampling",
    "told_too": "checks both",
    "uses_second_mix": "uses_secondary_mix",
}
#: Definitions of the old names themselves.
OLD = {
    ("fastdiff/guidance/base.py", "adapted"),
    ("fastdiff/guidance/base.py", "adapts"),
    ("fastdiff/solvers/base.py", "keeps_anchor"),
    ("fastdiff/solvers/base.py", "quantity"),
    ("fastdiff/tables/table.py", "uses_second_mix"),
}
#: A part that has names of its own.
ELSEWHERE = ROOT / "fastdiff" / "integrations" / "diffusers"
FILES = [
    path for path in sorted((ROOT / "fastdiff").rglob("*.py")) if not path.is_relative_to(ELSEWHERE)
]


def names(path: Path) -> set[str]:
    """All that a file defines or uses by name."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Name):
            found.add(node.id)
        elif isinstance(node, ast.Attribute):
            found.add(node.attr)
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, ast.arg):
            found.add(node.arg)
    return {name.strip("_").lower() for name in found}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_names_are_standard_terms(path):
    file = str(path.relative_to(ROOT))
    found = {name for name in names(path) & TERMS.keys() if (file, name) not in OLD}
    assert not found, {name: TERMS[name] for name in found}

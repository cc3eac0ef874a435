"""Kernels written in Python DSLs, one folder each; loaded on first use.

Their sources lie in ``kernels/`` beside the package. An installation has them in this folder; a
source checkout, or an editable installation of it, reads them where they are.
"""

from pathlib import Path

_SOURCES = Path(__file__).resolve().parents[2] / "kernels"
if not (Path(__file__).parent / "triton").is_dir() and (_SOURCES / "triton").is_dir():
    __path__.append(str(_SOURCES))

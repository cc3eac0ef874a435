"""The file of a StepTable: an .npz archive, sealed by a checksum in the comment at its end."""

from __future__ import annotations

import json
import zipfile
from io import BytesIO
from pathlib import Path

import numpy as np

from .. import files

FORMAT, VERSION = "fastdiff.StepTable", 3
UNSEALED = 2  # the version before, which is still read
SEAL = b"crc32 "  # followed by the digits, the last bytes of the file
EXPECTED = "a saved StepTable"


def write(path: str | Path, rows: np.ndarray, levels: np.ndarray, meta: dict) -> None:
    """Write a table; ``meta`` is what JSON can hold of it.

    Raises:
        OSError: the file cannot be written; the one that was there stays as it is.
    """
    meta = {"format": FORMAT, "version": VERSION, **meta}
    buffer = BytesIO()
    np.savez(buffer, rows=rows, levels=levels, meta=np.array(json.dumps(meta)))
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.comment = SEAL + b"0" * files.DIGITS
    data = bytearray(buffer.getvalue())
    files.seal(data, len(data) - files.DIGITS)
    files.write(path, data)


def read(path: str | Path) -> tuple[np.ndarray, np.ndarray, dict]:
    """The rows, levels and ``meta`` of a table.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not a table, of another version, or damaged.
    """
    data = files.read(path, EXPECTED)
    with files.contents(path, EXPECTED):
        digits = len(data) - files.DIGITS
        sealed = data[:digits].endswith(SEAL)
        if sealed:
            files.check(data, digits)
        rows, levels, meta = _unpack(data)
        if meta.get("version") == VERSION and not sealed:
            raise ValueError("no checksum at its end")
    if meta.pop("format", None) != FORMAT:
        raise ValueError(f"path: expected {EXPECTED}, got a file of another format: {str(path)!r}")
    version = meta.pop("version", None)
    if version not in (VERSION, UNSEALED):
        raise ValueError(
            f"path: expected StepTable version {VERSION}, got version {version!r} in {str(path)!r}"
        )
    return rows, levels, meta


def _unpack(data: bytes) -> tuple[np.ndarray, np.ndarray, dict]:
    with np.load(BytesIO(data), allow_pickle=False) as archive:
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise ValueError("a single array")
        meta = json.loads(str(archive["meta"][()]))
        if not isinstance(meta, dict):
            raise TypeError("metadata that is not a mapping")
        if "quantity" in meta:  # the name that it has in older files
            meta["prediction_target"] = meta.pop("quantity")
        return archive["rows"], archive["levels"], meta

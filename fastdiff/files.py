"""How files are written: whole or not at all, on the disk when the call returns, and with a
checksum of all their bytes where the format has a place for it."""

from __future__ import annotations

import errno
import glob
import os
import secrets
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

DIGITS = 8  # of a checksum, hexadecimal


def write(path: str | Path, data: bytes | bytearray) -> None:
    """Put a file with these bytes in the place of the one at ``path``, in one move.

    A killed process, a full disk or a power failure leaves the old file or the new one, whole. A
    link is followed, the permissions of the old file are kept, and what is not a regular file (a
    pipe, ``/dev/stdout``) is written to as it is. What a killed process had not finished stays as
    ``.NAME.XXXXXXXX.partial`` beside the file, see :func:`sweep`.

    Raises:
        OSError: the file cannot be written; the error names ``path``.
    """
    with _named(path):
        target = Path(os.path.realpath(path))
        mode = target.stat().st_mode if target.exists() else None
        if mode is not None and not (stat.S_ISREG(mode) and os.access(target, os.W_OK)):
            with open(target, "wb") as file:  # raises on a folder, and on a read-only file
                file.write(data)
            return
        partial = target.with_name(f".{_stem(target)}.{secrets.token_hex(4)}.partial")
        try:
            with open(partial, "xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            if mode is not None:
                os.chmod(partial, stat.S_IMODE(mode))
            os.replace(partial, target)
        except BaseException:
            with suppress(OSError):
                partial.unlink()
            raise
        _flush_folder(target.parent)


def append(path: str | Path, data: bytes) -> None:
    """Add bytes to the end of the file at ``path``.

    Where that fails the file keeps its length. A killed process may leave a part of ``data``.

    Raises:
        OSError: the file cannot be written; the error names ``path``.
    """
    # Without a buffer, or closing the file would write what has just been refused.
    with _named(path), open(path, "r+b", buffering=0) as file:
        end = file.seek(0, os.SEEK_END)
        try:
            rest = memoryview(data)
            while rest:  # a disk that is nearly full takes a part
                rest = rest[file.write(rest) :]
            os.fsync(file.fileno())
        except BaseException:
            with suppress(OSError):
                file.truncate(end)
            raise


def sweep(path: str | Path) -> None:
    """Delete what killed processes had not finished of the file at ``path``; for one that nobody
    else writes to at the same time."""
    target = Path(os.path.realpath(path))
    for partial in target.parent.glob(f".{glob.escape(_stem(target))}.{'[0-9a-f]' * 8}.partial"):
        partial.unlink(missing_ok=True)


def read(path: str | Path, expected: str) -> bytes:
    """The bytes of the file at ``path``; ``expected`` says in errors what it should be.

    Raises:
        FileNotFoundError: there is no such file.
        OSError: it cannot be read.
    """
    try:
        return Path(path).read_bytes()
    except FileNotFoundError:
        message = f"path: expected {expected}, got {str(path)!r}: no such file"
        raise FileNotFoundError(message) from None
    except OSError as error:
        message = f"path: expected {expected}, got {error.strerror}"
        raise OSError(error.errno, message, str(path)) from error


@contextmanager
def contents(path: str | Path, expected: str) -> Iterator[None]:
    """Turn whatever error the contents of a file cause into a ValueError that names it: a damaged
    or foreign file may make any library that reads it fail in any way."""
    try:
        yield
    except Exception as error:
        what = f"no {error} in it" if isinstance(error, KeyError) else " ".join(str(error).split())
        raise ValueError(
            f"path: expected {expected}, got a damaged or foreign file {str(path)!r}: {what[:300]}"
        ) from error


def checksum(data: bytes | bytearray, place: int) -> bytes:
    """CRC-32, in 8 hexadecimal digits, of all bytes but the 8 at ``place``, where a file keeps it.

    It notices every change of up to 32 neighbouring bits.
    """
    view = memoryview(data)
    value = zlib.crc32(view[place + DIGITS :], zlib.crc32(view[:place]))
    return f"{value:0{DIGITS}x}".encode()


def seal(data: bytearray, place: int) -> None:
    """Write the checksum of ``data`` to its ``place``."""
    data[place : place + DIGITS] = checksum(data, place)


def check(data: bytes, place: int) -> None:
    """Raise ValueError unless the checksum at ``place`` is that of ``data``."""
    if data[place : place + DIGITS] != checksum(data, place):
        raise ValueError("its bytes are not those that were written (checksum)")


def _stem(target: Path) -> str:
    return target.name[:48]  # a name has at most 255 bytes, and that of the file may need them all


def _flush_folder(folder: Path) -> None:
    """Wait until a new name in the folder is on the disk, where the system can do that."""
    if os.name != "posix":  # elsewhere a folder cannot be opened
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EINVAL, errno.ENOTSUP):
            raise


@contextmanager
def _named(path: str | Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise OSError(
            error.errno, f"path: expected a file that can be written, got {reason}", str(path)
        ) from error

"""IDX, the file format of MNIST, read strictly and in bounded memory.

An IDX file is a header and a block of numbers, everything big-endian::

    2 bytes         zero
    1 byte          the type of the numbers (the table below)
    1 byte          how many dimensions
    4 bytes each    the size of every dimension
    the rest        the numbers, last dimension fastest

Source: Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits",
section "File formats".
"""

import gzip
import hashlib
import math
import struct
import zlib
from io import BufferedIOBase
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_BYTES = 1 << 30
"""What a file may hold unless the caller says otherwise: 1 GiB, 20 times MNIST's largest."""

_DTYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_MAX_NDIM = 32
_GZIP_MAGIC = b"\x1f\x8b"
_CHUNK = 1 << 20


def read_idx(
    path: str | PathLike[str], *, max_bytes: int = MAX_BYTES, sha256: str | None = None
) -> NDArray[Any]:
    """Read an IDX file, gzip-compressed or not, whatever its name ends in.

    Memory follows what the file really holds and stops at what its header declares, so neither a
    header nor a gzip stream that claims gigabytes can take them.

    Args:
        path: The file.
        max_bytes: The most bytes of numbers that the header may declare.
        sha256: What the uncompressed file must hash to, in hexadecimal; None to accept any.

    Returns:
        A writable array in native byte order, of the dtype and shape that the header declares.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is not what it should be; the message names the file and the fault.
    """
    path = Path(path)
    if path.exists() and not path.is_file():
        raise _fault(path, "expects a regular file, got a directory or a device")
    with path.open("rb") as file:
        return parse_idx(file, path, max_bytes=max_bytes, sha256=sha256)


def parse_idx(
    file: BufferedIOBase,
    name: object,
    *,
    max_bytes: int = MAX_BYTES,
    sha256: str | None = None,
) -> NDArray[Any]:
    """Read an open, seekable IDX file from its start; errors call it ``name``.

    Otherwise as ``read_idx``.
    """
    file.seek(0)
    compressed = file.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC
    file.seek(0)
    if not compressed:
        return _parse(file, name, max_bytes, sha256)
    try:
        with gzip.GzipFile(fileobj=file, mode="rb") as stream:
            return _parse(stream, name, max_bytes, sha256)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise _fault(name, f"expects a whole gzip stream, got a damaged one ({error})") from error


def _parse(
    stream: BufferedIOBase, name: object, max_bytes: int, sha256: str | None
) -> NDArray[Any]:
    header, dtype, shape = _read_header(stream, name)
    # An axis of size 0 must not hide what the others declare: NumPy refuses (2**32, 2**32, 0).
    declared = math.prod(max(size, 1) for size in shape) * dtype.itemsize
    if declared > max_bytes:
        raise _fault(name, f"may hold {max_bytes} bytes, its header declares {declared}, {shape}")

    expected = math.prod(shape) * dtype.itemsize
    content = _read(stream, expected + 1)  # one more, to see that there is no more
    if len(content) != expected:
        got = "more" if len(content) > expected else f"only {len(content)}"
        raise _fault(
            name, f"expects {expected} bytes of numbers, {dtype.name} {shape}, but holds {got}"
        )
    _check_sha256(sha256, name, header, content)
    array = np.frombuffer(content, dtype).reshape(shape)
    return array.astype(dtype.newbyteorder("="), copy=False)


def _read_header(
    stream: BufferedIOBase, name: object
) -> tuple[bytes, np.dtype[Any], tuple[int, ...]]:
    magic = _read(stream, 4)
    if len(magic) < 4:
        raise _fault(name, f"expects a magic number of 4 bytes, got {len(magic)}")
    kind, ndim = magic[2], magic[3]
    if magic[:2] != b"\0\0" or kind not in _DTYPES:
        raise _fault(
            name,
            f"expects a magic number of two zero bytes and a type in {bytes(_DTYPES).hex(' ')}, "
            f"got {magic.hex(' ')}; this is not an IDX file",
        )
    if not 1 <= ndim <= _MAX_NDIM:
        raise _fault(name, f"expects 1 to {_MAX_NDIM} dimensions, its header declares {ndim}")
    sizes = _read(stream, 4 * ndim)
    if len(sizes) < 4 * ndim:
        raise _fault(name, f"expects a header of {4 + 4 * ndim} bytes, got {4 + len(sizes)}")
    return bytes(magic + sizes), np.dtype(_DTYPES[kind]), struct.unpack(f">{ndim}I", sizes)


def _read(stream: BufferedIOBase, size: int) -> bytearray:
    """Up to ``size`` bytes; in chunks, so that memory follows what is there."""
    content = bytearray()
    while chunk := stream.read(min(size - len(content), _CHUNK)):
        content += chunk
    return content


def _check_sha256(expected: str | None, name: object, *parts: bytes | bytearray) -> None:
    if expected is None:
        return
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    if digest.hexdigest() != expected:
        raise _fault(name, f"expects content of SHA-256 {expected}, got {digest.hexdigest()}")


def _fault(name: object, fault: str) -> ValueError:
    return ValueError(f"read_idx: {name} {fault}")

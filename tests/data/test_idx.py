import gzip
import io
import os
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from minigrad.data import read_idx
from minigrad.data.idx import parse_idx

# Written out by hand: two zero bytes, type, dimensions; sizes; numbers.
MATRIX = bytes([0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3, 1, 2, 3, 253, 254, 255])


def write(folder: Path, content: bytes, name: str = "file") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def test_reads_a_file_written_by_hand(tmp_path):
    array = read_idx(write(tmp_path, MATRIX))
    np.testing.assert_array_equal(array, [[1, 2, 3], [253, 254, 255]])
    assert array.dtype == np.uint8
    assert array.flags.writeable


@pytest.mark.parametrize(
    ("kind", "letter", "dtype", "numbers"),
    [
        (0x08, "B", np.uint8, (0, 255)),
        (0x09, "b", np.int8, (-128, 127)),
        (0x0B, "h", np.int16, (-2, 258)),
        (0x0C, "i", np.int32, (-2, 16909060)),
        (0x0D, "f", np.float32, (0.5, -3.0)),
        (0x0E, "d", np.float64, (1e300, -0.1)),
    ],
    ids=["uint8", "int8", "int16", "int32", "float32", "float64"],
)
def test_every_type_is_read_into_native_byte_order(tmp_path, kind, letter, dtype, numbers):
    content = bytes([0, 0, kind, 1]) + struct.pack(f">I2{letter}", 2, *numbers)
    array = read_idx(write(tmp_path, content))
    np.testing.assert_array_equal(array, np.array(numbers, dtype))
    assert array.dtype == dtype
    assert array.dtype.isnative


@pytest.mark.parametrize(
    "content",
    [
        gzip.compress(MATRIX),
        gzip.compress(MATRIX[:7]) + gzip.compress(b"") + gzip.compress(MATRIX[7:]),
        gzip.compress(MATRIX) + bytes(100),  # padded with zeros, as tapes are
    ],
    ids=["one member", "three members", "zero padding"],
)
@pytest.mark.parametrize("name", ["file.gz", "file"])
def test_gzip_is_known_by_its_content(tmp_path, content, name):
    assert read_idx(write(tmp_path, content, name)).tolist() == [[1, 2, 3], [253, 254, 255]]


def test_a_file_may_be_open_for_writing_too(tmp_path):
    with (tmp_path / "new").open("x+b") as file:
        file.write(gzip.compress(MATRIX))  # and may stand at its end
        assert parse_idx(file, "file").shape == (2, 3)


def test_an_uncompressed_file_may_be_called_gz(tmp_path):
    assert read_idx(write(tmp_path, MATRIX, "file.gz")).shape == (2, 3)


@pytest.mark.parametrize("shape", [(0,), (0, 28, 28), (3, 0)], ids=str)
def test_no_numbers_at_all(tmp_path, idx_bytes, shape):
    assert read_idx(write(tmp_path, idx_bytes(np.zeros(shape, np.uint8)))).shape == shape


def header(*sizes: int, ndim: int | None = None) -> bytes:
    ndim = len(sizes) if ndim is None else ndim
    return bytes([0, 0, 8, ndim]) + struct.pack(f">{len(sizes)}I", *sizes)


FAULTS = {
    "empty": (b"", "magic number of 4 bytes, got 0"),
    "short magic": (b"\0\0\x08", "magic number of 4 bytes, got 3"),
    "not idx": (b"<html></html>", "got 3c 68 74 6d; this is not an IDX file"),
    "first byte": (b"\1" + MATRIX[1:], "magic number of two zero bytes"),
    "second byte": (MATRIX[:1] + b"\1" + MATRIX[2:], "magic number of two zero bytes"),
    "type": (MATRIX[:2] + b"\x0a" + MATRIX[3:], "type in 08 09 0b 0c 0d 0e, got 00 00 0a 02"),
    "no dimensions": (header() + b"\0", "1 to 32 dimensions, its header declares 0"),
    "255 dimensions": (header(*[1] * 255) + b"\0", "1 to 32 dimensions, its header declares 255"),
    "short header": (MATRIX[:10], "header of 12 bytes, got 10"),
    "no data": (MATRIX[:12], r"6 bytes of numbers, uint8 \(2, 3\), but holds only 0"),
    "truncated": (MATRIX[:-1], r"6 bytes of numbers, uint8 \(2, 3\), but holds only 5"),
    "trailing": (MATRIX + b"\0", r"6 bytes of numbers, uint8 \(2, 3\), but holds more"),
    "count too high": (header(3, 3) + MATRIX[12:], "9 bytes of numbers"),
    "count too low": (header(1, 3) + MATRIX[12:], "3 bytes of numbers, .* but holds more"),
    "2**32 - 1": (header(2**32 - 1) + b"\0", "may hold 1073741824 bytes, .* declares 4294967295"),
    "beyond 64 bits": (header(*[2**32 - 1] * 3), "may hold 1073741824 bytes"),
    "hidden by a zero": (header(*[2**32 - 1] * 3, 0), "may hold 1073741824 bytes"),
}


@pytest.mark.parametrize("compressed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize(("content", "fault"), FAULTS.values(), ids=FAULTS)
def test_refuses_a_malformed_file(tmp_path, content, fault, compressed):
    path = write(tmp_path, gzip.compress(content) if compressed else content, "some file")
    with pytest.raises(ValueError, match=rf"read_idx: .*some file .*{fault}"):
        read_idx(path)


COMPRESSED = gzip.compress(MATRIX)


@pytest.mark.parametrize(
    "content",
    [
        COMPRESSED[:2],
        COMPRESSED[:15],
        COMPRESSED[:-1],
        COMPRESSED + b"garbage",
        COMPRESSED + COMPRESSED[:-6],
        COMPRESSED[:-8] + b"\1\2\3\4" + COMPRESSED[-4:],
        COMPRESSED[:-4] + b"\1\2\3\4",
        COMPRESSED[:10] + b"\xff" + COMPRESSED[11:],
    ],
    ids=["magic only", "cut", "cut by one", "garbage", "cut member", "crc", "length", "deflate"],
)
def test_refuses_a_damaged_gzip_stream(tmp_path, content):
    path = write(tmp_path, content, "some.gz")
    with pytest.raises(ValueError, match=r"some\.gz expects (a whole gzip stream|6 bytes)"):
        read_idx(path)


@pytest.mark.parametrize(
    "content",
    [header(10) + bytes(1 << 26), header(1 << 30) + bytes(10)],
    ids=["the stream is larger", "the header is larger"],
)
def test_memory_is_bounded(tmp_path, content):
    path = write(tmp_path, gzip.compress(content, 1))
    del content
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="bytes of numbers"):
            read_idx(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1 << 22  # the file claims 64 MiB, or 1 GiB; buffers take some 100 KiB


def test_max_bytes_is_the_most_that_a_header_may_declare(tmp_path):
    path = write(tmp_path, MATRIX)
    assert read_idx(path, max_bytes=6).size == 6
    with pytest.raises(ValueError, match=r"may hold 5 bytes, its header declares 6, \(2, 3\)"):
        read_idx(path, max_bytes=5)


# From coreutils: printf '\0\0\10\2\0\0\0\2\0\0\0\3\1\2\3\375\376\377' | sha256sum
MATRIX_SHA256 = "35d01dea591316aa301384addcb01a9d084ce59ad93d2286dc6c40bf58bfcd4e"


@pytest.mark.parametrize("content", [MATRIX, COMPRESSED], ids=["plain", "gzip"])
def test_sha256_is_of_the_uncompressed_file(tmp_path, content):
    path = write(tmp_path, content)
    assert read_idx(path, sha256=MATRIX_SHA256).shape == (2, 3)
    with pytest.raises(
        ValueError, match=f"file expects content of SHA-256 0{{64}}, got {MATRIX_SHA256}"
    ):
        read_idx(path, sha256="0" * 64)


@pytest.mark.parametrize("place", [5, 17], ids=["header", "numbers"])
def test_sha256_covers_every_byte(tmp_path, place):
    # (2, 3) -> (0, 3) would be another fault, so the header changes in a way that still fits.
    content = bytearray(MATRIX)
    content[place] ^= 1
    content = header(3, 2) + MATRIX[12:] if place == 5 else bytes(content)
    with pytest.raises(ValueError, match="SHA-256"):
        read_idx(write(tmp_path, content), sha256=MATRIX_SHA256)


def test_a_directory_is_refused_by_name(tmp_path):
    with pytest.raises(
        ValueError, match=rf"{tmp_path.name} expects a regular file, got a directory"
    ):
        read_idx(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this platform has no named pipes")
def test_a_pipe_is_refused_without_waiting_for_it(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="pipe expects a regular file"):
        read_idx(tmp_path / "pipe")


def test_a_missing_file_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing"):
        read_idx(tmp_path / "nothing")


def mutate(content: bytes, rng: np.random.Generator) -> bytes:
    """Change, cut, insert or repeat bytes at random, up to four times."""
    for _ in range(rng.integers(1, 5)):
        start, stop = sorted(rng.integers(0, len(content) + 1, 2))
        middle = [
            rng.bytes(stop - start),
            b"",
            rng.bytes(3) + content[start:stop],
            content[start:stop] * 2,
            b"\xff" * (stop - start),
        ][rng.integers(5)]
        content = content[:start] + middle + content[stop:]
    return content


@pytest.mark.parametrize("compressed", [False, True], ids=["plain", "gzip"])
def test_random_damage_is_read_or_refused_but_nothing_else(compressed):
    rng = np.random.default_rng(0)
    faults = []
    for _ in range(2000):
        content = mutate(MATRIX, rng)
        if compressed:
            content = gzip.compress(content) if rng.random() < 0.3 else mutate(COMPRESSED, rng)
        try:
            array = parse_idx(io.BytesIO(content), "damaged", max_bytes=1 << 16)
        except ValueError as error:
            faults.append(str(error))
        else:
            assert isinstance(array, np.ndarray)
    assert all(fault.startswith("read_idx: damaged ") for fault in faults)
    assert len(faults) > 1000  # most damage is seen; numbers that merely change cannot be

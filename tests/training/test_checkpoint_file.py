"""The file of a checkpoint: what is written comes back, and any change of it is noticed."""

from __future__ import annotations

import hashlib
import json
import pickle
import struct
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minigrad.training import load_checkpoint, save_checkpoint

safetensors = pytest.importorskip("safetensors.numpy", reason="files need safetensors")

ARRAYS = {
    "model.0.weight": np.arange(6, dtype=np.float32).reshape(2, 3) / 7,
    "optimizer.step": np.array(3),
    "empty": np.zeros((0, 4)),
}
META = {"epoch": 3, "lr": 0.1, "text": 'a "quoted" é', "deep": [{"none": None, "big": 2**100}]}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "checkpoint.safetensors"


@pytest.fixture
def good(path):
    """The bytes of a good checkpoint; the file itself is then written to."""
    save_checkpoint(path, ARRAYS, META)
    return path.read_bytes()


def assert_same(arrays, expected):
    assert arrays.keys() == expected.keys()
    for name, array in arrays.items():
        assert array.dtype == expected[name].dtype, name
        assert array.shape == expected[name].shape, name
        assert array.tobytes() == expected[name].tobytes(), name


def is_refused(path, content):
    """Whether a file with this content is refused as it should be, by a ValueError of one line."""
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"load_checkpoint: .*checkpoint\.safetensors ") as raised:
        load_checkpoint(path)
    return "\n" not in str(raised.value)


# ------------------------------------------------------------------------- what is kept


def test_round_trip(path):
    save_checkpoint(path, ARRAYS, META)
    arrays, meta = load_checkpoint(path)
    assert_same(arrays, ARRAYS)
    assert meta == META


@pytest.mark.parametrize("kind", [*"?bhiqBHIQefd"])
def test_every_dtype(path, kind):
    array = np.frombuffer(np.random.default_rng(0).bytes(64), np.uint8)
    array = (array > 99) if kind == "?" else array.view(kind)  # NaNs with all kinds of payloads
    save_checkpoint(path, {"a": array}, {})
    assert_same(load_checkpoint(path)[0], {"a": array})


def test_memory_that_lies_in_another_way(path):
    """Transposed, with gaps, backwards, of the other byte order, read-only."""
    base = np.arange(24, dtype=np.float64).reshape(4, 6)
    views = {"t": base.T, "gaps": base[:, ::2], "back": base[::-1], "swapped": base.astype(">f8")}
    views["fixed"] = base.copy()
    views["fixed"].flags.writeable = False
    save_checkpoint(path, views, {})
    loaded, _ = load_checkpoint(path)
    for name, view in views.items():
        np.testing.assert_array_equal(loaded[name], view)


def test_nothing_at_all(path):
    save_checkpoint(path, {}, {})
    assert load_checkpoint(path) == ({}, {})


def test_the_same_contents_make_the_same_file(path, good):
    save_checkpoint(path, ARRAYS, META)
    assert path.read_bytes() == good


def test_other_tools_can_look_into_it(path, good):
    assert_same(safetensors.load(good), ARRAYS)
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        text = json.loads(file.metadata()["minigrad"])
    assert text["meta"] == META
    # The digest by its definition: of the file with zeros in its place.
    digest = text["sha256"].encode()
    assert good.count(digest) == 1
    assert hashlib.sha256(good.replace(digest, b"0" * 64)).hexdigest() == text["sha256"]


# ---------------------------------------------------------------------- what is refused


def test_any_change_of_any_byte(path, good):
    for i, byte in enumerate(good):
        for other in {byte ^ 1, byte ^ 0x20, byte ^ 0xFF}:
            assert is_refused(path, good[:i] + bytes([other]) + good[i + 1 :])


def test_any_truncation_and_anything_added(path, good):
    for length in range(len(good)):
        assert is_refused(path, good[:length])
    for tail in (b"\0", b" ", b"\n", good):
        assert is_refused(path, good + tail)
        assert is_refused(path, tail + good)


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_bytes_moved_repeated_or_left_out(path, data):
    save_checkpoint(path, ARRAYS, META)
    good = path.read_bytes()
    place = st.integers(0, len(good))
    a, b, c = sorted(data.draw(st.tuples(place, place, place)))
    changes = [
        good[:a] + good[b:],
        good[:b] + good[a:],
        good[:a] + good[b:c] + good[a:b] + good[c:],
    ]
    for changed in changes:
        if changed != good:
            assert is_refused(path, changed)


class Bomb:
    def __reduce__(self):
        return (sys.exit, ("the file was executed",))


def foreign():
    """Files that are something else."""
    weights = {"w": np.ones(3, np.float32)}
    yield "empty", b""
    yield "text", b"not a table"
    yield "pickle", pickle.dumps(Bomb())
    yield "safetensors", safetensors.save(weights)
    yield "with metadata", safetensors.save(weights, {"minigrad": "{}"})
    yield "without digits", safetensors.save(weights, {"minigrad": '{"sha256":"'})
    yield "zip", b"PK\x03\x04" + bytes(200)
    yield "noise", np.random.default_rng(0).bytes(5000)
    for length in (0, 2**31, 2**40, 2**63, 2**64 - 1):
        yield f"a header of {length}", struct.pack("<Q", length) + b'{"__metadata__":{}}'


@pytest.mark.parametrize("content", [pytest.param(c, id=name) for name, c in foreign()])
def test_foreign_files(path, content):
    assert is_refused(path, content)


def sealed(data):
    """Bytes with the digest that fits them, as somebody would make who wants to be believed."""
    start = data.index(b'{\\"sha256\\":\\"') + len(rb"{\"sha256\":\"")
    blank = data[:start] + b"0" * 64 + data[start + 64 :]
    return blank[:start] + hashlib.sha256(blank).hexdigest().encode() + blank[start + 64 :]


def made_up(table, text=r"{\"sha256\":\"" + "0" * 64 + r"\",\"meta\":{}}", data=b"", length=None):
    header = f'{{"__metadata__":{{"minigrad":"{text}"}}{table}}}'.encode()
    return sealed(struct.pack("<Q", len(header) if length is None else length) + header + data)


W = '"dtype":"F32","shape":[1],"data_offsets":[0,4]'


def test_what_is_made_up_here_is_a_checkpoint(path):
    path.write_bytes(made_up(f',"w":{{{W}}}', data=bytes(4)))
    assert_same(load_checkpoint(path)[0], {"w": np.zeros(1, np.float32)})


@pytest.mark.parametrize(
    "content",
    [
        *(made_up("", length=n) for n in (0, 1, 50, 150, 2**31, 2**40, 2**63, 2**64 - 1)),
        made_up(f',"w":{{{W}}},"w":{{{W}}}', data=bytes(4)),
        made_up(f',"w":{{{W}}},"v":{{{W}}}', data=bytes(4)),
        made_up(f',"w":{{{W}}}', data=bytes(3)),
        made_up(f',"w":{{{W}}}', data=bytes(5)),
        made_up(f',"w":{{{W.replace("F32", "BF16").replace("4", "2")}}}', data=bytes(2)),
        made_up(f',"w":{{{W.replace("F32", "PY")}}}', data=bytes(4)),
        made_up(f',"w":{{{W.replace("[1]", "[-1]")}}}', data=bytes(4)),
        made_up(f',"w":{{{W.replace("[1]", "[4294967296,4294967296]")}}}', data=bytes(4)),
        made_up(f',"w":{{{W.replace("[0,4]", "[0,4294967296]")}}}', data=bytes(4)),
        made_up(f',"w":{"[" * 100_000}'),
        made_up(',"w":{', data=bytes(4)),
        made_up(',"__metadata__":{"minigrad":"{}"}'),
        made_up("", text=r"{\"sha256\":\"" + "0" * 64 + r"\"}"),
        made_up("", text=r"{\"sha256\":\"" + "0" * 64 + r"\",\"meta\":3}"),
        made_up("", text=r"{\"sha256\":\"" + "0" * 64 + r"\",\"meta\":" + "[" * 100_000),
        made_up("", text=r"{\"sha256\":\"" + "0" * 64 + r"\",\"meta\":{\"a\":" + "9" * 5000 + "}}"),
    ],
)
def test_a_fitting_digest_does_not_make_a_checkpoint(path, content):
    assert is_refused(path, content)


def test_headers_changed_by_somebody_who_seals_them(path, good):
    """It loads as the same arrays or it is refused; it never ends in another kind of error."""
    rng = np.random.default_rng(0)
    size = int.from_bytes(good[:8], "little")
    refused = 0
    for _ in range(500):
        changed = bytearray(good)
        changed[rng.integers(130, 8 + size)] = rng.integers(32, 127)
        path.write_bytes(sealed(bytes(changed)))
        try:
            arrays, _ = load_checkpoint(path)
        except ValueError as error:
            assert "\n" not in str(error)  # noqa: PT017 - both ways are allowed
            refused += 1
        else:
            assert sum(array.nbytes for array in arrays.values()) == 32
    assert refused > 100


def test_what_cannot_be_kept(path, good):
    for array in (np.array(["a"]), np.array([None]), np.zeros(2, complex), np.zeros(1, "M8[s]")):
        with pytest.raises(ValueError, match=r"arrays expects bools.*, got .* under 'a'"):
            save_checkpoint(path, {"a": array}, {})
    with pytest.raises(ValueError, match="'__metadata__'"):
        save_checkpoint(path, {"__metadata__": np.zeros(1)}, {})
    endless = []
    endless.append(endless)
    for value in (np.zeros(1), path, float("nan"), float("inf"), {1, 2}, endless, np.int64(1)):
        with pytest.raises(ValueError, match="meta expects what JSON can hold: "):
            save_checkpoint(path, {}, {"a": value})
    assert path.read_bytes() == good
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_missing_file_and_a_folder_are_the_systems_errors(path, tmp_path):
    with pytest.raises(FileNotFoundError):
        load_checkpoint(path)
    with pytest.raises(OSError, match="directory"):
        load_checkpoint(tmp_path)


def test_a_large_foreign_file_is_refused_at_once(path):
    with path.open("wb") as file:
        file.truncate(1 << 38)  # 256 GB of zeros that take no place
    with pytest.raises(ValueError, match=r"no checkpoint \(it is not of minigrad"):
        load_checkpoint(path)


@pytest.mark.parametrize("call", [lambda p: save_checkpoint(p, {}, {}), load_checkpoint])
def test_without_safetensors_the_error_says_what_to_install(path, good, monkeypatch, call):  # noqa: ARG001
    monkeypatch.setitem(sys.modules, "safetensors", None)
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    with pytest.raises(ImportError, match="run `pip install safetensors`"):
        call(path)

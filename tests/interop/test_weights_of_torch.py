"""Weights from PyTorch and to PyTorch, checked by what both networks then compute."""

from __future__ import annotations

import collections
import sys

import numpy as np
import pytest

import minigrad as mg
from minigrad import models, nn
from minigrad.interop import torch as weights

torch = pytest.importorskip("torch", reason="PyTorch is the oracle")
tn = torch.nn

# The networks as a PyTorch user writes them: NCHW, and with names of their own.


def conv(i, o, k=1, *, bn, relu=True, stride=1):
    layers = [("conv", tn.Conv2d(i, o, k, stride, k // 2, bias=not bn))]
    layers += [("bn", tn.BatchNorm2d(o))] * bn + [("relu", tn.ReLU())] * relu
    return tn.Sequential(collections.OrderedDict(layers))


class NiN(tn.Module):
    def __init__(self, bn=False):
        super().__init__()
        self.stem = tn.Sequential(conv(1, 32, 3, bn=bn), conv(32, 32, bn=bn), conv(32, 32, bn=bn))
        self.body = tn.Sequential(conv(32, 64, 3, bn=bn), conv(64, 64, bn=bn), conv(64, 64, bn=bn))
        self.tail = tn.Sequential(conv(64, 64, 3, bn=bn), conv(64, 64, bn=bn))
        self.classifier = tn.Conv2d(64, 10, 1)
        self.pool = tn.MaxPool2d(2)

    def forward(self, x):
        x = self.pool(self.body(self.pool(self.stem(x))))
        return self.classifier(self.tail(x)).mean((2, 3))


class Block(tn.Module):
    def __init__(self, i, m, o, stride=1):
        super().__init__()
        self.narrow = conv(i, m, bn=True)
        self.look = conv(m, m, 3, bn=True, stride=stride)
        self.widen = conv(m, o, bn=True, relu=False)
        self.project = conv(i, o, bn=True, relu=False, stride=stride) if i != o else tn.Identity()

    def forward(self, x):
        return torch.relu(self.widen(self.look(self.narrow(x))) + self.project(x))


class Bottleneck(tn.Module):
    def __init__(self):
        super().__init__()
        self.stem = conv(1, 32, 3, bn=True)
        self.blocks = tn.Sequential(
            Block(32, 16, 64), Block(64, 16, 64), Block(64, 32, 128, 2), Block(128, 32, 128)
        )
        self.fc = tn.Linear(128, 10)

    def forward(self, x):
        return self.fc(self.blocks(tn.functional.max_pool2d(self.stem(x), 2)).mean((2, 3)))


NETWORKS = pytest.mark.parametrize(
    ("build", "twin_of"),
    [
        (lambda: models.nin(), NiN),
        (lambda: models.nin(batch_norm=True), lambda: NiN(bn=True)),
        (lambda: models.bottleneck(), Bottleneck),
    ],
    ids=["nin", "nin with batch norm", "bottleneck"],
)
IMAGES = np.random.default_rng(0).standard_normal((3, 28, 28, 1))


def shaken(state, seed=1):
    """The same state with random numbers, no zeros and ones; variances stay positive."""
    rng = np.random.default_rng(seed)
    for name, x in state.items():
        if not name.endswith("num_batches_tracked"):
            noise = 0.2 * rng.standard_normal(tuple(x.shape))
            noise = np.abs(noise) if name.endswith("running_var") else noise
            state[name] = x + (torch.tensor(noise).to(x.dtype) if hasattr(x, "cpu") else noise)
    return state


def assert_equal_outputs(net, twin):
    """Both in evaluation, where dropout is silent and batch norm uses its running statistics."""
    net.eval(), twin.eval()
    twin_images = torch.tensor(IMAGES.transpose(0, 3, 1, 2).copy())
    # In float64 two correct programs agree to some 1e-14 whatever the order of their sums, and the
    # weights come out of float32, so they are the same numbers.
    with torch.no_grad():
        expected = twin.double()(twin_images).numpy()
    got = net.astype(np.float64)(mg.Tensor(IMAGES)).data
    np.testing.assert_allclose(got, expected, rtol=1e-10, atol=1e-11)
    # In float32 sums of up to 576 products, 12 layers deep, in another order: some 1e-6 of the
    # largest; Winograd's are 1.7 times as far.
    with torch.no_grad():
        expected = twin.float()(twin_images.float()).numpy()
    got = net.astype(np.float32)(mg.Tensor(IMAGES.astype(np.float32))).data
    np.testing.assert_allclose(got, expected, rtol=0, atol=5e-6 * np.abs(expected).max())


@NETWORKS
def test_from_torch(build, twin_of):
    net, twin = build(), twin_of()
    twin.load_state_dict(shaken(twin.state_dict()))
    state = twin.state_dict()
    keys = weights.load_state_dict(net, state, names=weights.match_by_order(net, state))
    assert keys == ([], [])
    assert_equal_outputs(net, twin)


@NETWORKS
def test_to_torch(build, twin_of):
    net, twin = build(), twin_of()
    net.load_state_dict(shaken(net.state_dict()))
    names = weights.match_by_order(net, twin.state_dict())
    twin.load_state_dict(weights.state_dict(net, names=names))  # strict
    assert_equal_outputs(net, twin)


@NETWORKS
@pytest.mark.parametrize("kind", ["dict", "pt", "safetensors"])
def test_there_and_back_bit_for_bit(build, twin_of, kind, tmp_path):
    source, twin, target = build(), twin_of(), build()
    source.load_state_dict(shaken(source.state_dict()))
    names = weights.match_by_order(source, twin.state_dict())
    if kind == "dict":
        state = weights.state_dict(source, names=names)
    else:
        weights.save(source, tmp_path / f"w.{kind}", names=names)
        state = weights.read(tmp_path / f"w.{kind}")
        if kind == "safetensors":  # which sorts by name
            with pytest.raises(ValueError, match=r"before .* as in safetensors files"):
                weights.match_by_order(target, state)
            state = {name: state[name] for name in twin.state_dict()}
    shapes = {name: tuple(x.shape) for name, x in state.items()}
    assert list(shapes.items()) == [(n, tuple(x.shape)) for n, x in twin.state_dict().items()]
    weights.load_state_dict(target, state, names=names)
    for (name, there), back in zip(
        source.state_dict().items(), target.state_dict().values(), strict=True
    ):
        assert there.tobytes() == back.tobytes(), name


def test_back_and_there_bit_for_bit():
    twin, net = NiN(bn=True), models.nin(batch_norm=True)
    state = shaken(twin.state_dict())
    names = weights.match_by_order(net, state)
    weights.load_state_dict(net, state, names=names)
    back = weights.state_dict(net, names=names)
    assert list(back) == list(state)
    for name, x in state.items():
        assert back[name].dtype == x.dtype
        assert torch.equal(back[name], x), name
        assert back[name].is_contiguous()


def test_gradients_after_loading_are_the_same():
    net = nn.Sequential(nn.Conv2d(4, 4, 1), nn.GlobalAvgPool2d(), nn.Linear(4, 4))
    twin = tn.Sequential(tn.Conv2d(4, 4, 1), tn.AdaptiveAvgPool2d((1, 1)), tn.Linear(4, 4))
    weights.load_state_dict(net.astype(np.float64), twin.double().state_dict())
    x = np.random.default_rng(0).standard_normal((2, 5, 5, 4))
    (net(mg.Tensor(x)) ** 2).sum().backward()
    conv, pool, linear = twin
    y = pool(conv(torch.tensor(x.transpose(0, 3, 1, 2).copy())))
    (linear(y[:, :, 0, 0]) ** 2).sum().backward()
    for mine, theirs in (
        (net[0].weight, conv.weight.grad.permute(2, 3, 1, 0)),
        (net[2].weight, linear.weight.grad.T),
    ):
        np.testing.assert_allclose(mine.grad.data, theirs.numpy(), rtol=1e-10)  # float64


# ------------------------------------------------------------- the layout is that of the layer kind


def test_square_weights_are_turned_by_kind():
    net = nn.Sequential(nn.Conv2d(3, 3, 3, bias=False), nn.Linear(3, 3, bias=False))
    conv, linear = np.arange(81.0).reshape(3, 3, 3, 3), np.arange(9.0).reshape(3, 3)
    weights.load_state_dict(net, {"0.weight": conv, "1.weight": linear})  # NumPy's are fine, too
    o, i, h, w = 1, 2, 0, 1
    assert net[0].weight.data[h, w, i, o] == conv[o, i, h, w]
    assert net[1].weight.data[i, o] == linear[o, i]
    back = weights.state_arrays(net)
    np.testing.assert_array_equal(back["0.weight"], conv)
    np.testing.assert_array_equal(back["1.weight"], linear)


@pytest.mark.parametrize(("i", "o", "groups"), [(6, 6, 6), (6, 12, 6), (6, 4, 2)])
def test_groups(i, o, groups):
    net = nn.Conv2d(i, o, 3, padding=1, groups=groups).astype(np.float64)
    twin = tn.Conv2d(i, o, 3, padding=1, groups=groups).double()
    weights.load_state_dict(net, twin.state_dict())
    x = np.random.default_rng(0).standard_normal((2, 5, 4, i))
    expected = twin(torch.tensor(x.transpose(0, 3, 1, 2).copy())).detach().numpy()
    got = net(mg.Tensor(x)).data.transpose(0, 3, 1, 2)
    np.testing.assert_allclose(got, expected, rtol=1e-10, atol=1e-12)  # float64, 54 products


def test_parameters_of_your_own_are_copied_as_they_are():
    class Scaled(nn.Module):
        def __init__(self):
            self.matrix = nn.Parameter(np.zeros((2, 2), np.float32))
            self.weight = nn.Parameter(np.zeros((2, 2), np.float32))
            self.list = [nn.Parameter(np.zeros((2, 2), np.float32))]

    net, square = Scaled(), np.arange(4, dtype=np.float32).reshape(2, 2)
    state = {"matrix": square, "weight": 2 * square, "list.0": 3 * square}
    weights.load_state_dict(net, state)
    for name, array in net.state_dict().items():
        np.testing.assert_array_equal(array, state[name])


def test_a_subclass_of_a_layer_is_of_its_kind():
    class Mine(nn.Linear):
        pass

    net = Mine(2, 2)
    weights.load_state_dict(net, {"weight": np.array([[1, 2], [3, 4.0]]), "bias": np.zeros(2)})
    assert net.weight.tolist() == [[1, 3], [2, 4]]


def test_a_linear_layer_behind_flatten_needs_its_rows_rearranged():
    # as the documentation says; PyTorch counts them as (c, h, w)
    net = nn.Sequential(nn.Flatten(), nn.Linear(2 * 3 * 4, 5)).astype(np.float64)
    twin = tn.Sequential(tn.Flatten(), tn.Linear(2 * 3 * 4, 5)).double()
    weights.load_state_dict(net, twin.state_dict())
    weight = net[1].weight
    weight.data[...] = weight.data.reshape(4, 2, 3, 5).transpose(1, 2, 0, 3).reshape(24, 5)
    x = np.random.default_rng(0).standard_normal((2, 2, 3, 4))
    expected = twin(torch.tensor(x.transpose(0, 3, 1, 2).copy())).detach().numpy()
    np.testing.assert_allclose(net(mg.Tensor(x)).data, expected, rtol=1e-10)  # float64


# -------------------------------------------------------------------------------------------- names


def small():
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Linear(2, 2))


def small_twin(prefix=""):
    names = [f"{prefix}{n}" for n in ("stem.conv", "stem.norm", "fc")]
    layers = tn.Conv2d(1, 2, 3), tn.BatchNorm2d(2), tn.Linear(2, 2)
    return {
        f"{name}.{key}": value
        for name, layer in zip(names, layers, strict=True)
        for key, value in shaken(layer.state_dict()).items()
    }


NAMES = {"0": "stem.conv", "1": "stem.norm", "2": "fc"}


def test_match_by_order_tells_which_layer_is_which():
    assert weights.match_by_order(small(), small_twin()) == NAMES


def test_names_of_modules_of_tensors_and_a_common_beginning():
    net, state = small(), small_twin()
    weights.load_state_dict(net, state, names=NAMES)
    expected = net.state_dict()
    by_hand = [
        (state, NAMES | {"2.weight": "fc.weight"}),
        ({"model." + k: v for k, v in state.items()}, {k: "model." + v for k, v in NAMES.items()}),
        ({"module." + k: v for k, v in weights.state_dict(net).items()}, {"": "module"}),
    ]
    for given, names in by_hand:
        other = small()
        weights.load_state_dict(other, given, names=names)
        for name, array in other.state_dict().items():
            np.testing.assert_array_equal(array, expected[name])
        assert list(weights.state_dict(other, names=names)) == list(given)


def refused(match, net, state, **options):
    before = {name: x.tobytes() for name, x in net.state_dict().items()}
    with pytest.raises(ValueError, match=match) as caught:
        weights.load_state_dict(net, state, **options)
    assert "\n" not in str(caught.value)
    assert {name: x.tobytes() for name, x in net.state_dict().items()} == before


def test_what_does_not_fit_is_named():
    net, state = small(), small_twin()
    refused(
        r"expected '0.weight' of shape \(2, 1, 3, 3\) for '0.weight' \(Conv2d\), got a state "
        r"without it; .*match_by_order",
        net,
        state,
    )
    wrong = state | {"fc.weight": torch.zeros(2, 3)}
    refused(
        r"'fc.weight' of shape \(2, 2\) for '2.weight' \(Linear\), got shape \(2, 3\)",
        net,
        wrong,
        names=NAMES,
    )
    refused(
        "got 'more', which belongs to nothing", net, state | {"more": torch.zeros(1)}, names=NAMES
    )
    refused("got 'stem', which is none", net, state, names=NAMES | {"stem": "x"})
    refused(
        "got 'fc.weight' for both '1.weight' and '2.weight'", net, state, names=NAMES | {"1": "fc"}
    )
    del state["stem.norm.running_mean"]
    refused(
        r"'stem.norm.running_mean' .* \(BatchNorm2d\), got a state without", net, state, names=NAMES
    )
    with pytest.raises(TypeError, match="a tensor or an array under 'model', got dict; hand over"):
        weights.load_state_dict(net, {"model": state})
    with pytest.raises(TypeError, match=r"by name, got Linear; hand over its state_dict\(\)"):
        weights.load_state_dict(net, tn.Linear(2, 2))


def test_not_strict():
    net, state = small(), small_twin()
    state["more"] = state.pop("fc.bias")
    keys = weights.load_state_dict(net, state, names=NAMES, strict=False)
    assert keys == (["2.bias"], ["more"])
    np.testing.assert_array_equal(net[2].weight.data.T, state["fc.weight"].numpy())
    refused("got shape", net, state | {"fc.weight": torch.zeros(1, 1)}, names=NAMES, strict=False)


@pytest.mark.parametrize(
    ("layers", "match"),
    [
        (
            [tn.Conv2d(1, 2, 3), tn.Linear(2, 2)],
            r"'1.weight' of shape \(2,\), got '1.weight' of .* \(2, 2\)",
        ),
        ([tn.Conv2d(1, 2, 5)], r"'0.weight' of shape \(2, 1, 3, 3\), got '0.weight' of .*5, 5\)"),
        ([tn.Conv2d(1, 2, 3, bias=False)], r"expected '0.bias' of shape \(2,\), got no '0.bias'"),
        ([tn.Conv2d(1, 2, 3), tn.BatchNorm2d(2)], r"'2.weight' of shape \(2, 2\), got nothing m"),
        (
            [tn.Conv2d(1, 2, 3), tn.BatchNorm2d(2), tn.Linear(2, 2), tn.Linear(2, 3)],
            r"expected nothing more, got '3.weight' of shape \(3, 2\)",
        ),
    ],
)
def test_match_by_order_names_the_first_mismatch(layers, match):
    with pytest.raises(ValueError, match=match):
        weights.match_by_order(small(), tn.Sequential(*layers).state_dict())


def test_half_precision_and_frozen_and_channels_last_states():
    net = nn.Conv2d(3, 4, 3)
    exact = torch.arange(108.0).reshape(4, 3, 3, 3)  # a number that bfloat16 has
    for weight in (
        exact.bfloat16(),
        exact.half(),
        exact.double(),
        exact.to(memory_format=torch.channels_last),
        tn.Parameter(exact),
        mg.Tensor(exact.numpy()),
    ):
        net.weight.data[...] = 0
        weights.load_state_dict(net, {"weight": weight, "bias": np.zeros(4)})
        np.testing.assert_array_equal(net.weight.data, exact.numpy().transpose(2, 3, 1, 0))


# -------------------------------------------------------------------------------------------- files


@pytest.mark.parametrize("ending", [".pt", ".pth", ".safetensors"])
def test_files_for_torch(ending, tmp_path):
    net, other, path = small(), small(), tmp_path / f"weights{ending}"
    weights.save(net, path, names=NAMES)
    weights.load(other, path, names=NAMES)
    for name, array in net.state_dict().items():
        np.testing.assert_array_equal(other.state_dict()[name], array)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_torch_reads_what_was_saved_and_the_other_way_round(tmp_path):
    net = small()
    weights.save(net, tmp_path / "a.pt")
    twin = tn.Sequential(tn.Conv2d(1, 2, 3), tn.BatchNorm2d(2), tn.Linear(2, 2))
    twin.load_state_dict(torch.load(tmp_path / "a.pt", weights_only=True))
    torch.save(shaken(twin.state_dict()), tmp_path / "b.pt")
    weights.load(net, tmp_path / "b.pt")
    expected = torch.load(tmp_path / "b.pt")["0.weight"].numpy()
    np.testing.assert_array_equal(net[0].weight.data, expected.transpose(2, 3, 1, 0))


class Evil:
    def __reduce__(self):
        return print, ("this ran",)


def test_files_that_are_refused(tmp_path, capsys):
    path = tmp_path / "w.pt"
    whole = tn.Linear(2, 2)
    for thing in (whole, {"weight": Evil()}):
        torch.save(thing, path)
        with pytest.raises(ValueError, match=r"read: .*w.pt .* holds more than tensors by name"):
            weights.load(nn.Linear(2, 2), path)
    assert "this ran" not in capsys.readouterr().out
    torch.save(whole.state_dict(), path)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(ValueError, match=r"read: .*w.pt is damaged"):
        weights.read(path)
    torch.save(torch.zeros(2), path)
    with pytest.raises(ValueError, match="expects tensors by name, got Tensor"):
        weights.read(path)
    path.write_bytes(b"\x08\0\0\0\0\0\0\0{nonsense")
    with pytest.raises(ValueError, match=r"is damaged, or not a safetensors file"):
        weights.read(path)
    for empty in (b"", b"text of some length"):
        path.write_bytes(empty)
        with pytest.raises(ValueError, match=r"w.pt is damaged"):
            weights.read(path)
    with pytest.raises(FileNotFoundError):
        weights.read(tmp_path / "nothing.pt")
    with pytest.raises(ValueError, match=r"ends in .pt, .pth or .safetensors, got .*w.onnx"):
        weights.save(whole, tmp_path / "w.onnx")


def test_without_torch_numpy_arrays_and_safetensors_do(tmp_path, monkeypatch):
    net, other = small(), small()
    monkeypatch.setitem(sys.modules, "torch", None)  # what `import torch` then finds missing
    weights.load_state_dict(other, weights.state_arrays(net))
    np.testing.assert_array_equal(other[0].weight.data, net[0].weight.data)
    weights.save(net, tmp_path / "w.safetensors")
    weights.load(other, tmp_path / "w.safetensors")
    with pytest.raises(ImportError, match=r"state_dict: expected PyTorch, .* use state_arrays"):
        weights.state_dict(net)
    with pytest.raises(ImportError, match="save: expected PyTorch"):
        weights.save(net, tmp_path / "w.pt")

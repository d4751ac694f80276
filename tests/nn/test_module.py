"""Module: what it finds, under which names, and what it can be told."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn


class Scale(nn.Module):
    """One parameter, one buffer, and no call of super().__init__()."""

    def __init__(self, value=1.0):
        self.weight = nn.Parameter([value])
        self.calls = mg.Tensor([0.0])
        self.note = "neither"

    def forward(self, x):
        return x * self.weight


class Zoo(nn.Module):
    """A child in every kind of place."""

    def __init__(self):
        self.bare = Scale()
        self.rows = [Scale(), Scale()]
        self.fixed = (Scale(),)
        self.named = {"left": Scale(), "deep": [Scale()]}
        self.nothing = None


ZOO = ["bare", "rows.0", "rows.1", "fixed.0", "named.left", "named.deep.0"]


def names(pairs):
    return [name for name, _ in pairs]


def test_parameters_buffers_and_children_are_found_wherever_they_are():
    zoo = Zoo()
    assert names(zoo.named_children()) == ZOO
    assert names(zoo.named_modules()) == ["", *ZOO]
    assert names(zoo.named_parameters()) == [f"{place}.weight" for place in ZOO]
    assert names(zoo.named_buffers()) == [f"{place}.calls" for place in ZOO]
    assert len(list(zoo.parameters())) == len(list(zoo.buffers())) == len(ZOO)
    assert [type(m) for m in zoo.modules()] == [Zoo] + [Scale] * len(ZOO)
    assert list(zoo.children()) == [m for _, m in zoo.named_children()]


def test_parameters_in_a_list_are_parameters():
    module = nn.Module()
    module.scales = [nn.Parameter([1.0]), nn.Parameter([2.0])]
    assert names(module.named_parameters()) == ["scales.0", "scales.1"]


def test_a_parameter_requires_a_gradient_unless_frozen_and_stays_a_parameter():
    assert nn.Parameter([1.0]).requires_grad
    frozen = nn.Parameter([1.0], requires_grad=False)
    assert not frozen.requires_grad
    module = nn.Module()
    module.weight = frozen
    assert list(module.parameters()) == [frozen]


def test_requires_grad_freezes_and_thaws_everything_below():
    zoo = Zoo()
    assert zoo.requires_grad_(False) is zoo
    assert not any(p.requires_grad for p in zoo.parameters())
    assert len(list(zoo.parameters())) == len(ZOO)
    zoo.requires_grad_()
    assert all(p.requires_grad for p in zoo.parameters())


def test_what_is_shared_is_listed_once_under_its_first_name():
    module, scale = nn.Module(), Scale()
    module.first, module.second = scale, scale
    module.tied = scale.weight
    assert names(module.named_parameters()) == ["tied"]  # own parameters come before children's
    assert names(module.named_modules()) == ["", "first"]
    assert list(module.state_dict()) == ["tied", "first.calls"]


def test_a_child_may_know_its_parent():
    module, child = nn.Module(), Scale()
    module.child, child.parent = child, module
    assert names(module.named_parameters()) == ["child.weight"]
    assert "..." in repr(module)
    assert not module.eval().training


def test_there_is_no_attribute_magic():
    with pytest.raises(AttributeError, match="wieght"):
        _ = Scale().wieght
    assert "__setattr__" not in vars(nn.Module)
    assert "__getattr__" not in vars(nn.Module)


def test_a_replaced_attribute_is_what_counts():
    module = Scale()
    module.weight = nn.Parameter([5.0])
    assert [p.item() for p in module.parameters()] == [5.0]
    del module.weight
    assert list(module.parameters()) == []


def test_train_and_eval_reach_everything():
    zoo = Zoo()
    assert all(m.training for m in zoo.modules())
    assert zoo.eval() is zoo
    assert not any(m.training for m in zoo.modules())
    zoo.train()
    assert all(m.training for m in zoo.modules())
    zoo.train(False)
    assert not any(m.training for m in zoo.modules())
    assert Scale().training  # the default of others is untouched


def test_dropout_is_switched_off_in_every_place():
    class Net(nn.Module):
        def __init__(self):
            self.a, self.b, self.c = nn.Dropout(1), [nn.Dropout(1)], {"x": (nn.Dropout(1),)}

    net, x = Net(), mg.Tensor(np.ones(4, np.float32))
    layers = [net.a, net.b[0], net.c["x"][0]]
    assert [layer(x).numpy().sum() for layer in layers] == [0, 0, 0]
    net.eval()
    assert [layer(x).numpy().sum() for layer in layers] == [4, 4, 4]


def test_zero_grad_forgets_all_gradients():
    zoo = Zoo()
    total = sum((child(mg.Tensor([2.0])) for child in zoo.children()), start=mg.Tensor([0.0]))
    total.sum().backward()
    assert all(p.grad.item() == 2 for p in zoo.parameters())
    zoo.zero_grad()
    assert all(p.grad is None for p in zoo.parameters())


def test_forward_must_be_defined():
    class Empty(nn.Module):
        pass

    with pytest.raises(NotImplementedError, match="Empty has no forward method"):
        Empty()(1)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, "float64"])
def test_astype_converts_parameters_and_float_buffers_in_place(dtype):
    module = Scale(0.5)
    module.count = mg.Tensor(np.array([3]))
    weight = module.weight
    module(mg.Tensor([1.0])).sum().backward()
    assert module.astype(dtype) is module
    assert module.weight is weight
    assert weight.dtype == module.calls.dtype == dtype
    assert weight.data == 0.5
    assert weight.grad is None
    assert module.count.dtype.kind == "i"


@pytest.mark.parametrize("dtype", [np.float16, np.int64], ids=str)
def test_astype_refuses_what_kernels_cannot_compute(dtype):
    with pytest.raises(ValueError, match="astype: dtype expects float32 or float64, got"):
        Scale().astype(dtype)


@pytest.mark.parametrize(
    "duplicate", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["copy", "pickle"]
)
def test_a_copy_is_independent_and_shares_what_was_shared(duplicate):
    module = Zoo()
    module.tied = module.bare.weight
    twin = duplicate(module)
    assert twin.tied is twin.bare.weight
    assert isinstance(twin.tied, nn.Parameter)
    twin.tied.data += 1
    assert module.tied.item() == 1
    assert names(twin.named_parameters()) == names(module.named_parameters())


def test_repr_shows_the_tree():
    net = nn.Sequential(nn.Linear(2, 3), nn.Sequential(nn.ReLU()), Scale())
    net[2].extra_repr = lambda: "by one"
    net[2].inner = [nn.Flatten()]
    assert repr(net) == (
        "Sequential(\n"
        "  (0): Linear(2, 3, bias=True)\n"
        "  (1): Sequential(\n"
        "    (0): ReLU()\n"
        "  )\n"
        "  (2): Scale(\n"
        "    by one\n"
        "    (inner.0): Flatten()\n"
        "  )\n"
        ")"
    )

"""Traces made by hand, by the schema that the page reads: graphs of any size, with known numbers.

The forward values are NumPy's; the gradients are random, because the page shows what it is given.
"""

from __future__ import annotations

import base64
from typing import Any

import numpy as np


def packed(array: Any, keep: int | None = None) -> dict[str, Any]:
    """The numbers as the trace writes them; `keep` cuts the first axis to so many."""
    array = np.asarray(array)
    axes = [list(range(n)) for n in array.shape]
    if keep is not None:
        axes[0] = axes[0][:keep]
    sample = np.ascontiguousarray(array[np.ix_(*axes)] if axes else array)
    return {
        "shape": list(array.shape),
        "dtype": str(array.dtype),
        "min": float(array.min()),
        "max": float(array.max()),
        "mean": float(array.mean()),
        "std": float(array.std()),
        "zeros": float((array == 0).mean()),
        "nan": int(np.isnan(array).sum()),
        "inf": int(np.isinf(array).sum()),
        "sample": {
            "axes": axes,
            "data": base64.b64encode(sample.tobytes()).decode(),
            "dtype": sample.dtype.str,
        },
    }


class Maker:
    """Notes ops one by one, then makes the steps there and back."""

    def __init__(self, title: str, lines: list[str], file: str = "model.py") -> None:
        self.rng = np.random.default_rng(0)
        self.file = file
        self.arrays: list[np.ndarray] = []
        self.gradients: dict[int, np.ndarray] = {}
        self.data: dict[str, Any] = {
            "version": 1,
            "title": title,
            "minigrad": "0.1.0",
            "files": {file: {"first": 1, "lines": lines}},
            "modules": [{"name": "", "type": "Sequential", "parent": None}],
            "tensors": [],
            "nodes": [],
            "steps": [],
            "loss": 0,
        }

    def module(self, name: str, kind: str, parent: int = 0) -> int:
        self.data["modules"].append({"name": name, "type": kind, "parent": parent})
        return len(self.data["modules"]) - 1

    def tensor(self, array: Any, role: str, name: str | None = None, module: int = 0) -> int:
        array = np.asarray(array)
        self.arrays.append(array)
        entry = {"name": name, "role": role, "module": module, "node": None, "grad": None}
        self.data["tensors"].append({**entry, "value": packed(array)})
        return len(self.arrays) - 1

    def random(self, *shape: int) -> np.ndarray:
        return self.rng.standard_normal(shape).astype(np.float32)

    def node(self, op: str, value: Any, module: int = 0, line: int = 1, **inputs: int) -> int:
        """An op of this value; `inputs` are the indices of its tensors by name."""
        output = self.tensor(value, "value", module=module)
        self.data["tensors"][output]["node"] = len(self.data["nodes"])
        self.data["nodes"].append({
            "op": op,
            "inputs": list(inputs.values()),
            "names": list(inputs),
            "output": output,
            "config": {},
            "module": module,
            "line": {"file": self.file, "number": line},
            "expression": None,
            "value_rule": None,
            "rules": [{"input": name, "text": f"{name} ← g"} for name in inputs],
            "doc": None,
        })  # fmt: skip
        return output

    def conv(self, x: int, w: int, b: int, module: int = 0, relu: bool = False) -> int:
        """A convolution that keeps height and width, summed tap by tap in float64."""
        image, weight = self.arrays[x].astype(np.float64), self.arrays[w].astype(np.float64)
        k = weight.shape[0]
        p = k // 2
        wide = np.pad(image, ((0, 0), (p, p), (p, p), (0, 0)))
        _, height, width, _ = image.shape
        value = self.arrays[b] + sum(
            wide[:, u : u + height, v : v + width] @ weight[u, v]
            for u in range(k)
            for v in range(k)
        )
        value = np.maximum(value, 0) if relu else value
        out = self.node("conv2d", value.astype(np.float32), module, 2, x=x, w=w, b=b)
        self.data["nodes"][-1]["convolution"] = {
            "kernel": [k, k],
            "stride": [1, 1],
            "padding": [[p, p], [p, p]],
            "groups": 1,
            "activation": "relu" if relu else None,
        }
        return out

    def finish(self, loss: int) -> dict[str, Any]:
        """The steps: forward, the seed, backward, newest first."""
        data, steps = self.data, self.data["steps"]
        data["loss"] = loss
        paths: dict[int, int] = {}
        for k, node in enumerate(data["nodes"]):
            steps.append({"kind": "forward", "node": k})
            for t in node["inputs"]:
                paths[t] = paths.get(t, 0) + 1
        steps.append({"kind": "seed", "tensor": loss})
        self.gradients[loss] = np.ones_like(self.arrays[loss])
        arrived: dict[int, int] = {}
        for k in reversed(range(len(data["nodes"]))):
            node = data["nodes"][k]
            passed = []
            for position, t in enumerate(node["inputs"]):
                part = self.random(*self.arrays[t].shape)
                self.gradients[t] = self.gradients.get(t, 0) + part
                arrived[t] = arrived.get(t, 0) + 1
                passed.append({
                    "input": position,
                    "tensor": t,
                    "gradient": packed(part),
                    "arrived": arrived[t],
                    "of": paths[t],
                    "total": packed(self.gradients[t]),
                })  # fmt: skip
            g = packed(self.gradients[node["output"]])
            steps.append({"kind": "backward", "node": k, "g": g, "passed": passed})
        for t, total in self.gradients.items():
            data["tensors"][t]["grad"] = packed(total)
        return data


def small() -> dict[str, Any]:
    """A 1x1 and a 3x3 convolution with a path around them, down to a scalar."""
    make = Maker(
        "small", ["def forward(x):", "    h = F.conv2d(x, w, b)", "    return (h + x).sum()"]
    )
    one = make.module("squeeze", "Conv2d")
    two = make.module("spread", "Conv2d")
    x = make.tensor(make.random(2, 5, 5, 3), "input", "x")
    w = make.tensor(make.random(1, 1, 3, 4), "parameter", "squeeze.weight", one)
    b = make.tensor(make.random(4), "parameter", "squeeze.bias", one)
    h = make.conv(x, w, b, one, relu=True)
    w = make.tensor(make.random(3, 3, 4, 3), "parameter", "spread.weight", two)
    b = make.tensor(make.random(3), "parameter", "spread.bias", two)
    h = make.conv(h, w, b, two)
    total = make.node("add", make.arrays[h] + make.arrays[x], line=3, x=h, y=x)
    loss = make.node("sum", make.arrays[total].sum(), line=3, x=total)
    return make.finish(loss)


def square() -> dict[str, Any]:
    """x * x + x, to see three gradients arrive at x: hand values."""
    make = Maker("x * x + x", ["y = x * x + x"])
    x = make.tensor(np.float32(3), "input", "x")
    xx = make.node("mul", np.float32(9), x=x, y=x)
    make.data["nodes"][-1] |= {
        "expression": "x * x",
        "value_rule": "x * y",
        "rules": [{"input": "x", "text": "x ← g * y"}, {"input": "y", "text": "y ← g * x"}],
    }
    return make.finish(make.node("add", np.float32(12), x=xx, y=x))


def rude() -> dict[str, Any]:
    """Names and code that would break out of a careless page."""
    evil = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'`&amp;${1}"
    make = Maker(evil, [evil, f"y = {evil}"], file=f"{evil}.py")
    module = make.module(evil, evil)
    x = make.tensor(make.random(3), "input", evil)
    y = make.node(evil, make.random(3), module, x=x)
    make.data["nodes"][-1] |= {
        "expression": evil, "value_rule": evil, "doc": evil, "config": {evil: evil},
        "rules": [{"input": "x", "text": evil}],
    }  # fmt: skip
    y = make.node("sum", np.float32(1), module, x=y)
    data = make.finish(y)
    data["tensors"][0]["value"] = None  # not kept
    return data


def residual(ops: int, *, grouped: bool = True) -> dict[str, Any]:
    """Residual blocks in stages until there are so many ops; or one long flat graph."""
    make = Maker(f"{ops} ops", ["y = block(x)"])
    h = make.tensor(make.random(2, 3), "input", "x")
    stage = block = count = 0
    blocks = 0
    while count < ops - 1:
        if blocks % 10 == 0 and grouped:
            stage = make.module(f"stage{blocks // 10}", "Sequential")
        if grouped:
            block = make.module(f"stage{(blocks) // 10}.{blocks % 10}", "Residual", stage)
        blocks += 1
        before = h
        for kind in ("linear", "norm", "relu", "linear", "norm", "add", "relu")[: ops - 1 - count]:
            count += 1
            inputs = {"x": h}
            module = block
            if kind == "add":
                inputs["y"] = before
            elif kind != "relu":
                if grouped:
                    module = make.module(f"b{blocks}.{kind}{count}", kind.title(), block)
                inputs["w"] = make.tensor(make.random(3), "parameter", f"{kind}{count}.w", module)
                inputs["b"] = make.tensor(make.random(3), "parameter", f"{kind}{count}.b", module)
            h = make.node(kind, make.random(2, 3), module, **inputs)
    return make.finish(make.node("sum", np.float32(1), x=h))

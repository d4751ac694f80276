"""A small training program as a user writes it under `mypy --strict`; test_typing.py checks it.

The types that it asserts are also what is there when it runs.
"""
# mypy: disallow-untyped-calls=True, warn-return-any=True
# (which the project's own configuration leaves out of strict)

from typing import Any, assert_type

import numpy as np
from numpy.typing import NDArray

import minigrad as mg
import minigrad.functional as F
from minigrad import data, models, nn, optim
from minigrad.testing import gradcheck

# ----------------------------------------------------------------------------------------- tensors

x = mg.Tensor(np.ones((2, 4, 4, 3), np.float32), requires_grad=True)
assert_type(x.data, np.ndarray)
assert_type(x.grad, mg.Tensor | None)
assert_type(x.shape, tuple[int, ...])
for y in (x + 1, 2.0 * x, x - x, np.float32(2) + x, -x, x**2, x / 2, x @ np.ones((3, 3))):
    assert_type(y, mg.Tensor)
assert_type(x[0, ..., 1:], mg.Tensor)
assert_type(x > 0, mg.Tensor)
assert_type((x > 0).any(), mg.Tensor)
assert_type(x.sum(axis=(1, 2)).mean(), mg.Tensor)
assert_type(x.reshape(2, -1).transpose(1, 0), mg.Tensor)
assert_type(x.astype(np.float64), mg.Tensor)
assert_type(x.detach().numpy(), NDArray[Any])
assert_type(float(x.mean()), float)
assert_type(len(x), int)
assert_type(x.requires_grad_(), mg.Tensor)
assert_type(mg.from_dlpack(x.detach()), mg.Tensor)
assert_type(mg.grad((x * x).sum(), x), tuple[mg.Tensor | None, ...])
z = x.detach()
z += 1
assert_type(z, mg.Tensor)

# --------------------------------------------------------------------------------------------- ops

w = mg.Tensor(np.ones((1, 1, 3, 5), np.float32))
b = np.zeros(5, np.float32)
assert_type(F.conv2d(x, w, b, padding="same", stride=(1, 1), activation="relu"), mg.Tensor)
assert_type(F.conv2d(b.reshape(1, 1, 1, 5)[..., :3], w), mg.Tensor)
assert_type(F.max_pool2d(F.relu(x), kernel_size=2), mg.Tensor)
assert_type(F.relu(b), NDArray[Any])  # arrays alone give an array
assert_type(F.add(1.0, x), mg.Tensor)
assert_type(F.where(x > 0, x, 0.0), mg.Tensor)
assert_type(F.softmax(x, axis=-1), mg.Tensor)
assert_type(F.concatenate([x, x], axis=-1), mg.Tensor)
assert_type(F.stack(x, x), mg.Tensor)
assert_type(F.split(x, 2, axis=1), list[mg.Tensor])
assert_type(F.einsum("nhwc,nhwc->n", x, x), mg.Tensor)
assert_type(F.cross_entropy(F.global_avg_pool2d(x), [0, 1], label_smoothing=0.1), mg.Tensor)


@mg.op
def double(x: NDArray[Any]) -> NDArray[Any]:
    """An op of the user's own."""
    return 2 * x


double.vjp(x=lambda g: 2 * g)
assert_type(gradcheck(double, np.ones(3)), bool)

# ----------------------------------------------------------------------------------------- modules


class Net(nn.Module):
    """A network of the user's own."""

    def __init__(self, classes: int) -> None:
        self.features = nn.Sequential(nn.MLPConv(1, 4, 8, 3), nn.MaxPool2d(2))
        self.scale = nn.Parameter(np.ones(8, np.float32))
        self.head = nn.Linear(8, classes)

    def forward(self, x: mg.Tensor, *, scaled: bool = True) -> tuple[mg.Tensor, mg.Tensor]:
        """(N, H, W, 1) -> (N, classes), and the features."""
        features = F.global_avg_pool2d(self.features(x))
        assert_type(self.features(x), mg.Tensor)
        return self.head(features * self.scale if scaled else features), features


net = Net(10)
assert_type(net.train(), Net)
assert_type(net.features, nn.Sequential)
assert_type(models.nin(batch_norm=True), nn.Sequential)
assert_type(net.state_dict(), dict[str, np.ndarray])
assert_type(nn.Bottleneck(4, 2, 4)(mg.Tensor(np.ones((1, 4, 4, 4), np.float32))), mg.Tensor)

# ---------------------------------------------------------------------------------------- training

images, labels = data.digits("test")
assert_type(images, NDArray[np.float32])
loader = data.DataLoader(images[:32], labels[:32], batch_size=16, shuffle=True)
optimizer = optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
schedule = optim.OneCycleLR(optimizer, max_lr=0.1, total_steps=2)
for batch, targets in loader:
    logits, features = net(mg.Tensor(batch), scaled=True)
    assert_type(logits, mg.Tensor)
    loss = F.cross_entropy(logits, targets)
    optimizer.zero_grad()
    loss.backward()
    assert_type(optim.clip_grad_norm(net.parameters(), 1.0), float)
    optimizer.step()
    schedule.step()
    assert_type(loss.item(), Any)


@mg.no_grad()
def accuracy(net: Net, images: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """The part of the images that the network reads right."""
    logits, _ = net.eval()(mg.Tensor(images))
    return float((logits.argmax(axis=1) == labels).astype(np.float32).mean())


assert_type(accuracy(net, images[:32], labels[:32]), float)
with mg.no_grad(), mg.kernels("reference"), mg.profile() as profile:
    net(mg.Tensor(images[:2]))
assert_type(str(profile), str)
mg.nn.init.kaiming_normal((3, 3))
assert_type(mg.interop.torch.state_arrays(net), dict[str, np.ndarray])
mg.interop.torch.load_state_dict(net, mg.interop.torch.state_arrays(net))

"""One 1x1 convolution cannot learn XOR of two channels; 1x1, ReLU, 1x1 can.

A 1x1 convolution is a linear map of each pixel's channels, and no line separates the two pixels
that differ in their channels from the two that do not (Minsky & Papert 1969). A ReLU between two
of them makes a small network at each pixel: that is the idea of Network in Network.
"""

from __future__ import annotations

import numpy as np

import minigrad as mg
import minigrad.functional as F
from minigrad import nn, optim

# One image of 2x2 pixels with two channels: each pixel is one row of the truth table.
pixels = np.array([[[[0, 0], [0, 1]], [[1, 0], [1, 1]]]], np.float32)
target = (pixels[..., :1] != pixels[..., 1:]).astype(np.float32)


def learn(model: nn.Module) -> np.ndarray:
    """Train on the four pixels, and return what the model makes of them."""
    optimizer = optim.Adam(model.parameters(), lr=0.05)
    for _ in range(400):
        optimizer.zero_grad()
        F.mse_loss(model(mg.Tensor(pixels)), target).backward()
        optimizer.step()
    return model(mg.Tensor(pixels)).data


def main() -> tuple[np.ndarray, np.ndarray]:
    """Train both models; returns their answers for the four pixels."""
    mg.manual_seed(1)
    one = nn.Conv2d(2, 1, 1)
    two = nn.Sequential(nn.Conv2d(2, 8, 1, activation="relu"), nn.Conv2d(8, 1, 1))
    answers = learn(one), learn(two)
    print("a xor b       one 1x1   1x1-ReLU-1x1")
    for i, j in np.ndindex(2, 2):
        a, b = pixels[0, i, j]
        first, second = (y[0, i, j, 0] for y in answers)
        print(f"{a:.0f} xor {b:.0f} = {target[0, i, j, 0]:.0f} {first:10.2f} {second:14.2f}")
    return answers


if __name__ == "__main__":
    main()

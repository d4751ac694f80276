"""Build an expression, walk back through it, and look at the gradients."""

import minigrad as mg

x = mg.Tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
w = mg.Tensor([[0.5], [-1.0]], requires_grad=True)
y = ((x @ w) ** 2).sum()  # y = sum of (x w)^2
y.backward()
print("y =", y.item())
print("dy/dx = 2 (x w) w^T =", x.grad.tolist())
print("dy/dw = 2 x^T (x w) =", w.grad.tolist())

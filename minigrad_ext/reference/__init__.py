"""Every kernel in plain NumPy: what the compiled ones must answer, and where to read what they do.

Loops run over the taps of a window; NumPy does all pixels of all images at once. In the formulas
n is an image, (i, j) an output pixel, (u, v) a tap of the window, c a channel, o an output channel,
p a pixel of any image. With a stride of (sh, sw), a dilation of (dh, dw) and a padding of
((top, bottom), (left, right)), tap (u, v) of output pixel (i, j) sees the input pixel

    h = i * sh + u * dh - top,   w = j * sw + v * dw - left

which is 0 where that lies outside the image (for max pooling: minus infinity). All arrays of a call
are of one dtype, float32 or float64, and so is the result. The caller has checked the arguments.
"""

from .convolution import channel_sums, conv2d, conv2d_grads, conv2d_input_grad, conv2d_weight_grad
from .dropout import dropout
from .elementwise import add, add_relu, erf, matmul, relu, relu_grad
from .loss import softmax_cross_entropy, softmax_cross_entropy_grad
from .normalization import batch_norm, batch_norm_input_grad, batch_norm_statistics, batch_norm_sums
from .pooling import avg_pool2d, avg_pool2d_grad, max_pool2d, max_pool2d_gather, max_pool2d_grad

__all__ = [
    "add",
    "add_relu",
    "avg_pool2d",
    "avg_pool2d_grad",
    "batch_norm",
    "batch_norm_input_grad",
    "batch_norm_statistics",
    "batch_norm_sums",
    "channel_sums",
    "conv2d",
    "conv2d_grads",
    "conv2d_input_grad",
    "conv2d_weight_grad",
    "dropout",
    "erf",
    "matmul",
    "max_pool2d",
    "max_pool2d_gather",
    "max_pool2d_grad",
    "relu",
    "relu_grad",
    "softmax_cross_entropy",
    "softmax_cross_entropy_grad",
]

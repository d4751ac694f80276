"""Depthwise convolution, for other compiled modules only; see depthwise.pyx."""

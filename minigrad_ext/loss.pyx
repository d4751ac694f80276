"""Softmax cross-entropy and its gradient, row by row; what they compute is in reference/loss.py."""

import numpy as np

from cython cimport floating
from cython.parallel cimport prange
from libc cimport math
from libc.stdint cimport int64_t
from libc.string cimport memset

from ._checks import label_values
from .allocator import new_array

from .parallel cimport threads_for
from .simd cimport avx2_void
from .special cimport exp_nonpositive

cdef enum:
    EXP = 4  # passing over a number takes about so many times as long with an exp as without
    STRIP = 256  # numbers whose exps are held at a time
    LANES = 8  # a sum is made of so many, side by side, so that it fits vector registers


cdef avx2_void _find_largest(
    const floating* logits, Py_ssize_t C, floating* largest
) noexcept nogil:
    cdef floating[LANES] lanes
    cdef Py_ssize_t c = 0, lane
    for lane in range(LANES):
        lanes[lane] = logits[0]
    while c + LANES <= C:
        for lane in range(LANES):
            lanes[lane] = logits[c + lane] if logits[c + lane] > lanes[lane] else lanes[lane]
        c += LANES
    for lane in range(C - c):
        lanes[lane] = logits[c + lane] if logits[c + lane] > lanes[lane] else lanes[lane]
    largest[0] = lanes[0]
    for lane in range(1, LANES):
        largest[0] = lanes[lane] if lanes[lane] > largest[0] else largest[0]


cdef avx2_void _shifted_exps(
    const floating* logits, Py_ssize_t C, floating largest, floating* exps, double* sum_of_exp
) noexcept nogil:
    """Take exps of logits less the largest, and add them up."""
    # Sums are in double: a million classes cost no digit.
    cdef double[LANES] lanes
    cdef Py_ssize_t c = 0, lane
    for c in range(C):
        exps[c] = exp_nonpositive(logits[c] - largest)
    memset(lanes, 0, sizeof(lanes))
    c = 0
    while c + LANES <= C:
        for lane in range(LANES):
            lanes[lane] += exps[c + lane]
        c += LANES
    for lane in range(C - c):
        lanes[lane] += exps[c + lane]
    for lane in range(LANES):
        sum_of_exp[0] += lanes[lane]


def softmax_cross_entropy(
    const floating[:, ::1] logits,
    const int64_t[::1] labels,
    *,
    double label_smoothing,
    int64_t ignore_index,
):
    cdef Py_ssize_t M = logits.shape[0], C = logits.shape[1], row, bad = 0
    cdef int threads = threads_for(EXP * M * C)
    losses_array = new_array((M,), np.float32 if floating is float else np.float64)
    cdef floating[::1] losses = losses_array
    if M == 0:
        return losses_array
    with nogil:
        if threads == 1:
            bad = _losses(
                0, M, C, &logits[0, 0], &labels[0], &losses[0], label_smoothing, ignore_index
            )
        else:
            for row in prange(M, num_threads=threads):
                bad += _losses(
                    row, row + 1, C, &logits[0, 0], &labels[0], &losses[0],
                    label_smoothing, ignore_index,
                )
    if bad:
        label_values("softmax_cross_entropy", np.asarray(labels), C, ignore_index)
    return losses_array


cdef Py_ssize_t _losses(
    Py_ssize_t first, Py_ssize_t stop, Py_ssize_t C,
    const floating* logits, const int64_t* labels, floating* losses,
    double label_smoothing, int64_t ignore_index,
) noexcept nogil:
    """Fill in some rows; how many labels were bad."""
    cdef Py_ssize_t row, bad = 0
    for row in range(first, stop):
        if labels[row] == ignore_index:
            losses[row] = 0
        elif 0 <= labels[row] < C:
            losses[row] = _loss(logits + row * C, labels[row], C, label_smoothing)
        else:
            bad += 1
    return bad


cdef floating _loss(
    const floating* logits, Py_ssize_t label, Py_ssize_t C, double label_smoothing
) noexcept nogil:
    cdef double sum_of_exp = 0, sum_of_logits = 0, log_sum, loss
    cdef floating[STRIP] exps
    cdef floating largest
    cdef Py_ssize_t c = 0
    _find_largest(logits, C, &largest)
    while c < C:
        _shifted_exps(logits + c, min(STRIP, C - c), largest, exps, &sum_of_exp)
        c += STRIP
    log_sum = math.log(sum_of_exp)
    loss = log_sum - (logits[label] - largest)
    if label_smoothing != 0:  # else a logit of -inf would make 0 * inf
        for c in range(C):
            sum_of_logits += logits[c] - largest
        loss = (1 - label_smoothing) * loss + label_smoothing * (log_sum - sum_of_logits / C)
    return <floating> loss


def softmax_cross_entropy_grad(
    const floating[::1] g,
    const floating[:, ::1] logits,
    const int64_t[::1] labels,
    *,
    double label_smoothing,
    int64_t ignore_index,
):
    cdef Py_ssize_t M = logits.shape[0], C = logits.shape[1], row, bad = 0
    cdef int threads = threads_for(EXP * M * C)
    dlogits_array = new_array((M, C), np.float32 if floating is float else np.float64)
    cdef floating[:, ::1] dlogits = dlogits_array
    if M == 0:
        return dlogits_array
    with nogil:
        if threads == 1:
            bad = _loss_grads(
                0, M, C, &g[0], &logits[0, 0], &labels[0], &dlogits[0, 0],
                label_smoothing, ignore_index,
            )
        else:
            for row in prange(M, num_threads=threads):
                bad += _loss_grads(
                    row, row + 1, C, &g[0], &logits[0, 0], &labels[0], &dlogits[0, 0],
                    label_smoothing, ignore_index,
                )
    if bad:
        label_values("softmax_cross_entropy_grad", np.asarray(labels), C, ignore_index)
    return dlogits_array


cdef Py_ssize_t _loss_grads(
    Py_ssize_t first, Py_ssize_t stop, Py_ssize_t C,
    const floating* g, const floating* logits, const int64_t* labels, floating* dlogits,
    double label_smoothing, int64_t ignore_index,
) noexcept nogil:
    """Fill in some rows; how many labels were bad."""
    cdef Py_ssize_t row, bad = 0
    for row in range(first, stop):
        if labels[row] == ignore_index:
            memset(dlogits + row * C, 0, C * sizeof(floating))
        elif 0 <= labels[row] < C:
            _loss_grad(
                g[row], logits + row * C, labels[row], dlogits + row * C, C, label_smoothing
            )
        else:
            bad += 1
    return bad


cdef void _loss_grad(
    floating g, const floating* logits, Py_ssize_t label, floating* dlogits, Py_ssize_t C,
    double label_smoothing,
) noexcept nogil:
    cdef double sum_of_exp = 0
    cdef floating largest, scale, everywhere = label_smoothing / C
    cdef Py_ssize_t c
    _find_largest(logits, C, &largest)
    _shifted_exps(logits, C, largest, dlogits, &sum_of_exp)
    scale = <floating> (1 / sum_of_exp)
    # In double, so that where the label's probability is almost 1 the small difference is right.
    dlogits[label] = <floating> (dlogits[label] - (1 - label_smoothing) * sum_of_exp)
    for c in range(C):
        dlogits[c] = g * (dlogits[c] * scale - everywhere)

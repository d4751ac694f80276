/* Depthwise convolution of neighbouring outputs of a row, whose sums stay in registers.
 *
 * What an output sees comes in runs of taps, each beside the other in a row of the image:
 *
 *     y[j,c] = sum over runs r, taps t of  x_r[column_r + j stride + t, c]  w_r[t, c]
 *
 * and the weight gradient is the same with w and y changing places. Where the stride is 1 or 2 an
 * input, once loaded, serves all of its taps; for others, and with dilation, runs have one tap.
 * Taps that lie outside the image are left out. There is at least one vector of channels; the last
 * vector ends with the last channel, and may have some of the one before it. Included by tile.h.
 */

INLINE int NAME(sees)(const Depthwise *d, Py_ssize_t column)
{
    return 0 <= column && column < d->width;
}

/* Fetch what the next row needs into the L2 cache; beyond the last one it is only a hint. */
INLINE void NAME(depthwise_ahead)(
    int stride, int outputs, const Depthwise *d, Py_ssize_t j, Py_ssize_t c, int write)
{
    Py_ssize_t C = d->channels, y_pixel = d->y_pixel;
    const float *x = d->run[d->runs - 1].x + j * stride * C + c;
    const float *y = d->y + d->y_row + j * y_pixel + c;
    UNROLL for (int row = 0; row < stride; row++) {
        x += d->width * C;
        UNROLL for (int q = 0; q < outputs * stride; q++)
            __builtin_prefetch(x + q * C, 0, 2);
    }
    UNROLL for (int p = 0; p < outputs; p++)
        __builtin_prefetch(y + p * y_pixel, write, 2);
}

INLINE void NAME(depthwise_outputs)(
    int taps, int stride, int outputs, int inside, const Depthwise *d, Py_ssize_t j, Py_ssize_t c)
{
    V sum[OUTPUTS] = {{0}}, w[MOST_TAPS];
    const int inputs = (outputs - 1) * stride + taps;
    Py_ssize_t C = d->channels, step = taps == 1 ? d->stride : 1, at = j * step * stride;
    for (Py_ssize_t r = 0; r < d->runs; r++) {
        Py_ssize_t column = d->run[r].column + at;
        const float *pixel = d->run[r].x + at * C + c, *weight = d->run[r].w + c;
        UNROLL for (int t = 0; t < taps; t++, weight += C)
            w[t] = *(const V *)weight;
        UNROLL for (int q = 0; q < inputs; q++, column += step, pixel += step * C)
            if (inside || NAME(sees)(d, column)) {
                V x = *(const V *)pixel;
                UNROLL for (int t = 0; t < taps; t++)
                    if (q >= t && (q - t) % stride == 0 && (q - t) / stride < outputs)
                        sum[(q - t) / stride] += x * w[t];
            }
    }
    if (d->bias)
        UNROLL for (int p = 0; p < outputs; p++)
            sum[p] += *(const V *)(d->bias + c);
    if (d->relu)
        UNROLL for (int p = 0; p < outputs; p++)
            sum[p] = NAME(relu)(sum[p]);
    Py_ssize_t y_pixel = d->y_pixel;
    float *y = d->y + j * y_pixel + c;
    if (taps > 1 && d->runs)
        NAME(depthwise_ahead)(stride, outputs, d, j, c, 1);
    UNROLL for (int p = 0; p < outputs; p++, y += y_pixel)
        *(V *)y = sum[p];
}

INLINE void NAME(depthwise_row)(
    int taps, int stride, const Depthwise *d, Py_ssize_t first, Py_ssize_t end)
{
    for (Py_ssize_t j = first; j < end;) {
        Py_ssize_t all = end - first, left = end - j, C = d->channels;
        int half = OUTPUTS / 2;
        int outputs = all >= OUTPUTS && left > half ? OUTPUTS : all >= half && left > 1 ? half : 1;
        if (left < outputs)  /* some once more */
            j = end - outputs;
        int inside = d->inside <= j && j + outputs <= d->beyond;
        for (Py_ssize_t c = 0; c < C; c += LANES) {
            Py_ssize_t from = c < C - LANES ? c : C - LANES;
            switch (outputs * 2 + inside) {
#define OUTPUTS_CASE(outputs, inside)                                                       \
    case (outputs) * 2 + inside:                                                            \
        NAME(depthwise_outputs)(taps, stride, outputs, inside, d, j, from);                 \
        break;
            OUTPUTS_CASE(OUTPUTS, 1)
            OUTPUTS_CASE(OUTPUTS, 0)
            OUTPUTS_CASE(OUTPUTS / 2, 1)
            OUTPUTS_CASE(OUTPUTS / 2, 0)
#undef OUTPUTS_CASE
            default: NAME(depthwise_outputs)(taps, stride, 1, 0, d, j, from);
            }
        }
        j += outputs;
    }
}

INLINE void NAME(depthwise_products)(
    int taps, int stride, int runs, int outputs, const Depthwise *d, const Run *run,
    Py_ssize_t j, Py_ssize_t c, V (*sum)[MOST_TAPS])
{
    V g[GRADS];
    const int inputs = (outputs - 1) * stride + taps;
    Py_ssize_t C = d->channels, step = taps == 1 ? d->stride : 1, at = j * step * stride;
    const float *grad = d->y + j * C + c;
    if (taps > 1 && run + runs == d->run + d->runs)
        NAME(depthwise_ahead)(stride, outputs, d, j, c, 0);
    UNROLL for (int p = 0; p < outputs; p++, grad += C)
        g[p] = *(const V *)grad;
    UNROLL for (int r = 0; r < runs; r++) {
        Py_ssize_t column = run[r].column + at;
        const float *pixel = run[r].x + at * C + c;
        UNROLL for (int q = 0; q < inputs; q++, column += step, pixel += step * C)
            if (outputs > 1 || NAME(sees)(d, column)) {
                V x = *(const V *)pixel;
                UNROLL for (int t = 0; t < taps; t++)
                    if (q >= t && (q - t) % stride == 0 && (q - t) / stride < outputs)
                        sum[r][t] += x * g[(q - t) / stride];
            }
    }
}

INLINE void NAME(depthwise_runs)(
    int taps, int stride, int runs, const Depthwise *d, const Run *run, Py_ssize_t j,
    Py_ssize_t end)
{
    for (Py_ssize_t c = 0; c < d->channels; c += LANES) {
        V sum[SUMS][MOST_TAPS];
        UNROLL for (int r = 0; r < runs; r++)
            UNROLL for (int t = 0; t < taps; t++)
                sum[r][t] = (V){0};
        Py_ssize_t from = c < d->channels - LANES ? c : d->channels - LANES, p = j;
        while (p < end)
            if (d->inside <= p && p + GRADS <= (end < d->beyond ? end : d->beyond)) {
                NAME(depthwise_products)(taps, stride, runs, GRADS, d, run, p, from, sum);
                p += GRADS;
            } else
                NAME(depthwise_products)(taps, stride, runs, 1, d, run, p++, from, sum);
        UNROLL for (int r = 0; r < runs; r++)
            UNROLL for (int t = 0; t < taps; t++) {
                float *w = run[r].w + t * d->channels + from;
                if (from == c)
                    *(V *)w += sum[r][t];
                else
                    for (Py_ssize_t i = c - from; i < LANES; i++)
                        w[i] += sum[r][t][i];
            }
    }
}

INLINE void NAME(depthwise_row_grads)(
    int taps, int stride, const Depthwise *d, Py_ssize_t first, Py_ssize_t end)
{
    int most = SUMS / taps;
    for (Py_ssize_t r = 0, runs; r < d->runs; r += runs) {
        runs = d->runs - r < most ? d->runs - r : most;
#define RUNS(runs)                                                                          \
    case runs:                                                                              \
        if (runs * taps <= SUMS)                                                            \
            NAME(depthwise_runs)(taps, stride, runs, d, d->run + r, first, end);            \
        break;
        switch (runs) {
        RUNS(1) RUNS(2) RUNS(3) RUNS(4) RUNS(5) RUNS(6) RUNS(7) RUNS(8) RUNS(9)
        }
#undef RUNS
    }
}

#define ROW(taps, stride)                                                                   \
    static void NAME(depthwise_##taps##_##stride)(                                          \
        const Depthwise *d, Py_ssize_t first, Py_ssize_t end)                               \
    {                                                                                       \
        NAME(depthwise_row)(taps, stride, d, first, end);                                   \
    }                                                                                       \
    static void NAME(depthwise_weight_grad_##taps##_##stride)(                              \
        const Depthwise *d, Py_ssize_t first, Py_ssize_t end)                               \
    {                                                                                       \
        NAME(depthwise_row_grads)(taps, stride, d, first, end);                             \
    }
FOR_EACH_RUN(ROW)
#undef ROW

/* Depthwise convolution of neighbouring outputs, whose sums stay in registers.
 *
 *     y[p,c] = sum over t of  x[pixel[t] + p x_step + c]  w[weight[t] + c]
 *
 * and its weight gradient, the same with w and y changing places. All taps that are given lie inside
 * the image for all outputs, and the channels are whole vectors. Included by tile.h.
 */

INLINE void NAME(depthwise_outputs)(
    int pixels, int vectors, const Depthwise *d, const float *x, float *y, Py_ssize_t c)
{
    V sum[OUTPUTS][DEPTHWISE_VECTORS] = {{{0}}};
    for (Py_ssize_t t = 0; t < d->taps; t++) {
        const float *from = x + d->pixel[t] + c, *weight = d->w + d->weight[t] + c;
        UNROLL for (int v = 0; v < vectors; v++) {
            V w = *(const V *)(weight + v * LANES);
            UNROLL for (int p = 0; p < pixels; p++)
                sum[p][v] += *(const V *)(from + p * d->x_step + v * LANES) * w;
        }
    }
    UNROLL for (int p = 0; p < pixels; p++)
        UNROLL for (int v = 0; v < vectors; v++)
            *(V *)(y + p * d->y_step + c + v * LANES) = sum[p][v];
}

static void NAME(depthwise)(const Depthwise *d, Py_ssize_t pixels)
{
    for (Py_ssize_t p = 0; p < pixels;) {
        const float *x = d->x + p * d->x_step;
        float *y = d->y + p * d->y_step;
        Py_ssize_t c = 0;
#define PIXELS(outputs)                                                                         \
    for (; c + DEPTHWISE_VECTORS * LANES <= d->channels; c += DEPTHWISE_VECTORS * LANES)        \
        NAME(depthwise_outputs)(outputs, DEPTHWISE_VECTORS, d, x, y, c);                        \
    for (; c < d->channels; c += LANES)                                                         \
        NAME(depthwise_outputs)(outputs, 1, d, x, y, c);                                        \
    p += outputs;
        if (p + OUTPUTS <= pixels) {
            PIXELS(OUTPUTS)
        } else {
            PIXELS(1)
        }
#undef PIXELS
    }
}

INLINE void NAME(depthwise_taps)(
    int taps, int vectors, const Depthwise *d, Py_ssize_t pixels, Py_ssize_t t, Py_ssize_t c)
{
    V sum[MOST_TAPS][DEPTHWISE_VECTORS] = {{{0}}}, y[DEPTHWISE_VECTORS];
    const float *from[MOST_TAPS];
    UNROLL for (int i = 0; i < taps; i++)
        from[i] = d->x + d->pixel[t + i] + c;
    for (Py_ssize_t p = 0; p < pixels; p++) {
        UNROLL for (int v = 0; v < vectors; v++)
            y[v] = *(const V *)(d->y + p * d->y_step + c + v * LANES);
        UNROLL for (int i = 0; i < taps; i++)
            UNROLL for (int v = 0; v < vectors; v++)
                sum[i][v] += *(const V *)(from[i] + p * d->x_step + v * LANES) * y[v];
    }
    UNROLL for (int i = 0; i < taps; i++)
        UNROLL for (int v = 0; v < vectors; v++)
            *(V *)(d->w + d->weight[t + i] + c + v * LANES) += sum[i][v];
}

static void NAME(depthwise_weight_grad)(const Depthwise *d, Py_ssize_t pixels)
{
    for (Py_ssize_t t = 0, taps; t < d->taps; t += taps) {
        Py_ssize_t c = 0;
        taps = d->taps - t < MOST_TAPS ? d->taps - t : MOST_TAPS;
#define TAPS(taps)                                                                              \
    case taps:                                                                                  \
        for (; c + DEPTHWISE_VECTORS * LANES <= d->channels; c += DEPTHWISE_VECTORS * LANES)    \
            NAME(depthwise_taps)(taps, DEPTHWISE_VECTORS, d, pixels, t, c);                     \
        for (; c < d->channels; c += LANES)                                                     \
            NAME(depthwise_taps)(taps, 1, d, pixels, t, c);                                     \
        break;
        switch (taps) {
        TAPS(1) TAPS(2) TAPS(3) TAPS(4) TAPS(5)
        }
#undef TAPS
    }
}

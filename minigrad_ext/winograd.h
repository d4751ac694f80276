/* The transforms of Winograd's F(4x4, 3x3), for a vector of channels at a time; see winograd.pyx.
 *
 * Each is a small matrix, applied to the columns of a square of vectors and then to its rows:
 * X -> matrix X matrix^T. Included by tile.h, once for each instruction set.
 */

/* The numbers at which polynomials are evaluated are 0, P, -P, Q, -Q and infinity. */
#define P (5 / 8.f)
#define Q (3 / 2.f)

/* out = B^T d, along a line.  Elements lie `s` apart in d, and `t` in out. */
INLINE void NAME(along_input)(const V *d, int s, V *out, int t)
{
    V a = d[4 * s] - Q * Q * d[2 * s], b = d[3 * s] - Q * Q * d[s];
    V c = d[4 * s] - P * P * d[2 * s], e = d[3 * s] - P * P * d[s];
    out[0] = P * P * Q * Q * d[0] - (P * P + Q * Q) * d[2 * s] + d[4 * s];
    out[t] = a + P * b;
    out[2 * t] = a - P * b;
    out[3 * t] = c + Q * e;
    out[4 * t] = c - Q * e;
    out[5 * t] = P * P * Q * Q * d[s] - (P * P + Q * Q) * d[3 * s] + d[5 * s];
}

/* out = G w */
INLINE void NAME(along_weights)(const V *w, int s, V *out, int t)
{
    const float p = 1 / (2 * P * P * (P * P - Q * Q)), q = 1 / (2 * Q * Q * (Q * Q - P * P));
    V a = p * w[0] + p * P * P * w[2 * s], b = p * P * w[s];
    V c = q * w[0] + q * Q * Q * w[2 * s], e = q * Q * w[s];
    out[0] = 1 / (P * P * Q * Q) * w[0];
    out[t] = a + b;
    out[2 * t] = a - b;
    out[3 * t] = c + e;
    out[4 * t] = c - e;
    out[5 * t] = w[2 * s];
}

/* out = A g */
INLINE void NAME(along_grad)(const V *g, int s, V *out, int t)
{
    V a = g[0] + P * P * g[2 * s], b = g[s] + P * P * g[3 * s];
    V c = g[0] + Q * Q * g[2 * s], e = g[s] + Q * Q * g[3 * s];
    out[0] = g[0];
    out[t] = a + P * b;
    out[2 * t] = a - P * b;
    out[3 * t] = c + Q * e;
    out[4 * t] = c - Q * e;
    out[5 * t] = g[3 * s];
}

/* out = A^T m */
INLINE void NAME(along_output)(const V *m, int s, V *out, int t)
{
    V a = m[s] + m[2 * s], b = m[s] - m[2 * s];
    V c = m[3 * s] + m[4 * s], e = m[3 * s] - m[4 * s];
    out[0] = m[0] + a + c;
    out[t] = P * b + Q * e;
    out[2 * t] = P * P * a + Q * Q * c;
    out[3 * t] = P * P * P * b + Q * Q * Q * e + m[5 * s];
}

/* out = G^T u */
INLINE void NAME(along_weight_grad)(const V *u, int s, V *out, int t)
{
    const float p = 1 / (2 * P * P * (P * P - Q * Q)), q = 1 / (2 * Q * Q * (Q * Q - P * P));
    V a = u[s] + u[2 * s], b = u[s] - u[2 * s];
    V c = u[3 * s] + u[4 * s], e = u[3 * s] - u[4 * s];
    out[0] = 1 / (P * P * Q * Q) * u[0] + p * a + q * c;
    out[t] = p * P * b + q * Q * e;
    out[2 * t] = p * P * P * a + q * Q * Q * c + u[5 * s];
}

typedef void NAME(Along)(const V *, int, V *, int);

/* The vector at c of so many channels; where it would pass the last, one that ends with it. */
INLINE Py_ssize_t NAME(at)(Py_ssize_t c, Py_ssize_t channels)
{
    return channels - c < LANES && channels >= LANES ? channels - LANES : c;
}

/* From size x size pixels to 36 sums, `step` floats apart. The caches are told of the pixels that
 * are `ahead` of these: nobody else guesses that the next tile's are next. */
INLINE void NAME(expand)(int size, NAME(Along) *along, const float *const *from, Py_ssize_t ahead,
                         Py_ssize_t channels, float *to, Py_ssize_t step, int some)
{
    for (Py_ssize_t k = 0; k < channels; k += LANES) {
        Py_ssize_t c = NAME(at)(k, channels);
        V pixel[6], half[36], sum[6];
        UNROLL for (int j = 0; j < size; j++) {
            UNROLL for (int i = 0; i < size; i++) {
                const float *at = from[i * size + j] + c;
                if (j >= size - 4)
                    __builtin_prefetch(at + ahead);
                pixel[i] = some ? NAME(load)(at, channels) : *(const V *)at;
            }
            along(pixel, 1, half + j, size);
        }
        UNROLL for (int i = 0; i < 6; i++) {
            along(half + i * size, 1, sum, 1);
            UNROLL for (int j = 0; j < 6; j++) {
                if (some)
                    NAME(store)(to + (i * 6 + j) * step, sum[j], channels);
                else
                    *(V *)(to + (i * 6 + j) * step + c) = sum[j];
            }
        }
    }
}

/* From 36 sums to size x size pixels; whether all are finite, before the bias and ReLU. */
INLINE int NAME(reduce)(int size, NAME(Along) *along, const float *from, Py_ssize_t step,
                        Py_ssize_t channels, float *const *to, const float *bias, int relu, int some)
{
    V zero = {0};  /* until something that is not finite has been multiplied by 0 */
    for (Py_ssize_t k = 0; k < channels; k += LANES) {
        Py_ssize_t c = NAME(at)(k, channels);
        V sum[6], half[24], pixel[4];
        UNROLL for (int j = 0; j < 6; j++) {
            UNROLL for (int i = 0; i < 6; i++)
                sum[i] = *(const V *)(from + (i * 6 + j) * step + c);
            along(sum, 1, half + j, 6);
        }
        V shift = bias ? *(const V *)(bias + c) : (V){0};
        UNROLL for (int i = 0; i < size; i++) {
            along(half + i * 6, 1, pixel, 1);
            UNROLL for (int j = 0; j < size; j++) {
                zero += pixel[j] * 0;
                pixel[j] += shift;
                if (relu)
                    pixel[j] = NAME(relu)(pixel[j]);
                if (some)
                    NAME(store)(to[i * size + j], pixel[j], channels);
                else
                    *(V *)(to[i * size + j] + c) = pixel[j];
            }
        }
    }
    int finite = 1;
    for (int i = 0; i < LANES && i < channels; i++)
        finite &= zero[i] == 0;
    return finite;
}

#define EXPAND(name, size, along)                                                             \
    static void NAME(name)(const float *const *from, Py_ssize_t ahead, Py_ssize_t channels,   \
                           float *to, Py_ssize_t step)                                        \
    {                                                                                         \
        if (channels < LANES)                                                                 \
            NAME(expand)(size, along, from, ahead, channels, to, step, 1);                    \
        else                                                                                  \
            NAME(expand)(size, along, from, ahead, channels, to, step, 0);                    \
    }
#define REDUCE(name, size, along)                                                             \
    static int NAME(name)(const float *from, Py_ssize_t step, Py_ssize_t channels,            \
                          float *const *to, const float *bias, int relu)                      \
    {                                                                                         \
        if (channels < LANES)                                                                 \
            return NAME(reduce)(size, along, from, step, channels, to, bias, relu, 1);        \
        return NAME(reduce)(size, along, from, step, channels, to, bias, relu, 0);            \
    }
EXPAND(expand_input, 6, NAME(along_input))
EXPAND(expand_weights, 3, NAME(along_weights))
EXPAND(expand_grad, 4, NAME(along_grad))
REDUCE(reduce_output, 4, NAME(along_output))
REDUCE(reduce_weight_grad, 3, NAME(along_weight_grad))
#undef EXPAND
#undef REDUCE
#undef P
#undef Q

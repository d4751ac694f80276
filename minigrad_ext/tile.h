/* The register tile: the product of a few rows with a few vectors of columns, kept in registers.
 *
 *     C[m,n] = sum over t, k of  A[offset[t] + m a_row + k a_step]  B[t K + k, n]
 *
 * All convolutions are made of it. Forward, m runs over pixels and k over channels, and t over the
 * kernel's taps, which are the same pixels seen from another place: nothing is copied for them. In
 * a weight gradient m runs over channels, k over pixels and t over the rows of the image. Each C is
 * one sum in the order of t and k, whatever tile it lies in.
 *
 * Included by kernels.h once for each instruction set, with LANES floats to a vector, REGISTERS
 * vectors to hold, and NAME to tell the copies apart.
 */

typedef float NAME(vector) __attribute__((vector_size(LANES * 4), aligned(4), may_alias));
typedef int NAME(mask) __attribute__((vector_size(LANES * 4), aligned(4), may_alias));
#define V NAME(vector)

/* How many rows of so many vectors the registers hold, beside a row of B and a number of A. */
#define FITTING(vectors) ((REGISTERS - 1 - (vectors)) / (vectors))
#define ROWS(vectors) (FITTING(vectors) < MOST_ROWS ? FITTING(vectors) : MOST_ROWS)

/* The first `count` floats, if that is fewer than a vector has: those beyond are not touched. */
#if LANES == 16
#define FIRST(count) ((count) < LANES ? (1u << (count)) - 1 : 0xffff)
INLINE V NAME(load)(const float *from, Py_ssize_t count)
{
    return _mm512_maskz_loadu_ps(FIRST(count), from);
}

INLINE void NAME(store)(float *to, V value, Py_ssize_t count)
{
    _mm512_mask_storeu_ps(to, FIRST(count), value);
}
#undef FIRST
#else
INLINE V NAME(load)(const float *from, Py_ssize_t count)
{
    V value = {0};
    if (count >= LANES)
        return *(const V *)from;
#if LANES == 8
    NAME(mask) place = {0, 1, 2, 3, 4, 5, 6, 7};
    value = _mm256_maskload_ps(from, (__m256i)(place < (int)count));
#else
    for (Py_ssize_t i = 0; i < count; i++)
        value[i] = from[i];
#endif
    return value;
}

INLINE void NAME(store)(float *to, V value, Py_ssize_t count)
{
    if (count >= LANES) {
        *(V *)to = value;
        return;
    }
    V rest = value;
    const float *from = (const float *)&rest;
    UNROLL for (int part = LANES / 2; part; part /= 2)
        if (count & part) {
            memcpy(to, from, part * sizeof(float));
            to += part, from += part;
        }
}
#endif

INLINE V NAME(relu)(V x)
{
    return (V)((NAME(mask))x & ~(x < (V){0}));  /* NaN is not below 0, and stays */
}

INLINE void NAME(multiply)(int rows, int vectors, const Product *p)
{
    V sum[MOST_ROWS][MOST_VECTORS], b[MOST_VECTORS];
    const float *B = p->B;
    UNROLL for (int m = 0; m < rows; m++)
        UNROLL for (int v = 0; v < vectors; v++)
            sum[m][v] = (V){0};
    if (p->ahead)  /* the rows of the next tile; beyond the last, a hint is all that it is */
        for (Py_ssize_t k = 0; k < p->K; k += LINE)
            UNROLL for (int m = 0; m < rows; m++)
                __builtin_prefetch(p->A + (m + rows) * p->a_row + k);
    for (int i = 0; i < p->soon.arrays; i++)  /* into the L2 cache */
        for (Py_ssize_t k = 0; k < rows * p->soon.row[i]; k += LINE)
            __builtin_prefetch(p->soon.at[i] + k, 0, 2);
    for (Py_ssize_t t = 0; t < p->taps; t++) {
        const float *A = p->A + p->offset[t];
        for (Py_ssize_t k = 0; k < p->K; k++, A += p->a_step, B += p->b_step) {
            UNROLL for (int v = 0; v < vectors; v++)
                b[v] = *(const V *)(B + v * LANES);
            UNROLL for (int m = 0; m < rows; m++)
                UNROLL for (int v = 0; v < vectors; v++)
                    sum[m][v] += A[m * p->a_row] * b[v];
        }
    }
    UNROLL for (int v = 0; v < vectors; v++) {
        Py_ssize_t columns = p->columns - v * LANES;
        V bias = p->bias ? *(const V *)(p->bias + v * LANES) : (V){0};
        UNROLL for (int m = 0; m < rows; m++) {
            float *C = p->C + m * p->c_row + v * LANES;
            if (p->accumulate)
                sum[m][v] += NAME(load)(C, columns);
            if (p->bias)
                sum[m][v] += bias;
            if (p->relu)
                sum[m][v] = NAME(relu)(sum[m][v]);
            NAME(store)(C, sum[m][v], columns);
        }
    }
}

/* One function for each size, so that the compiler knows both and unrolls. */
#define TILE(rows, vectors)                                                       \
    static void NAME(multiply_##rows##_##vectors)(const Product *p)               \
    {                                                                             \
        if (rows <= ROWS(vectors))                                                \
            NAME(multiply)(rows, vectors, p);                                     \
    }
FOR_EACH_SIZE(TILE)
#undef TILE

/* masked = g where out > 0, else 0 (a NaN in out lets it pass); sums += their sums over pixels.
 * There is no mask where out is NULL, and no copy or sums where those are. Rows of masked are
 * masked_row floats apart; those with room for it are zero from the last channel to the next
 * whole vector. */
INLINE void NAME(relu_grad_columns)(
    int vectors, Py_ssize_t pixels, Py_ssize_t row, Py_ssize_t channels, const float *g,
    const float *out, float *masked, Py_ssize_t masked_row, Py_ssize_t room, float *sums)
{
    V sum[MOST_VECTORS] = {{0}};
    for (Py_ssize_t p = 0; p < pixels; p++)
        UNROLL for (int v = 0; v < vectors; v++) {
            Py_ssize_t c = v * LANES;
            V grad = NAME(load)(g + p * row + c, channels - c);
            if (out) {
                V y = NAME(load)(out + p * row + c, channels - c);
                grad = (V)((NAME(mask))grad & ~(y <= (V){0}));
            }
            if (masked)
                NAME(store)(masked + p * masked_row + c, grad, room - c);
            sum[v] += grad;
        }
    for (int v = 0; sums && v < vectors; v++) {
        float *total = sums + v * LANES;
        sum[v] += NAME(load)(total, channels - v * LANES);
        NAME(store)(total, sum[v], channels - v * LANES);
    }
}

static void NAME(relu_grad)(
    Py_ssize_t pixels, Py_ssize_t channels, const float *g, const float *out,
    float *masked, Py_ssize_t masked_row, float *sums)
{
    /* A few pixels at a time, so that memory is read nearly in its order. */
    for (Py_ssize_t p = 0; p < pixels; p += FEW_PIXELS) {
        Py_ssize_t few = pixels - p < FEW_PIXELS ? pixels - p : FEW_PIXELS;
        for (Py_ssize_t c = 0; c < channels; c += MOST_VECTORS * LANES) {
            Py_ssize_t vectors = (channels - c + LANES - 1) / LANES;
#define COLUMNS(vectors)                                                                   \
    NAME(relu_grad_columns)(vectors, few, channels, channels - c, g + p * channels + c,    \
        out ? out + p * channels + c : NULL, masked ? masked + p * masked_row + c : NULL,  \
        masked_row, masked_row - c, sums ? sums + c : NULL)
            switch (vectors) {
            case 1: COLUMNS(1); break;
            case 2: COLUMNS(2); break;
            case 3: COLUMNS(3); break;
            default: COLUMNS(4);
            }
#undef COLUMNS
        }
    }
}

#include "winograd.h"
#include "depthwise.h"

static const Kernels NAME(kernels) = {
    .lanes = LANES,
    .relu_grad = NAME(relu_grad),
    .widest = ROWS(4) < 4 ? 3 : 4,
    .rows = {ROWS(1), ROWS(2), ROWS(3), ROWS(4)},
    .expand_input = NAME(expand_input),
    .expand_weights = NAME(expand_weights),
    .expand_grad = NAME(expand_grad),
    .reduce_output = NAME(reduce_output),
    .reduce_weight_grad = NAME(reduce_weight_grad),
#define ROW(taps, stride) \
    .depthwise[stride - 1][taps - 1] = NAME(depthwise_##taps##_##stride), \
    .depthwise_weight_grad[stride - 1][taps - 1] = NAME(depthwise_weight_grad_##taps##_##stride),
    FOR_EACH_RUN(ROW)
#undef ROW
#define TILE(rows, vectors) .multiply[vectors - 1][rows - 1] = NAME(multiply_##rows##_##vectors),
    FOR_EACH_SIZE(TILE)
#undef TILE
};

#undef V
#undef FITTING
#undef ROWS

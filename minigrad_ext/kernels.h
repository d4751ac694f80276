/* What the innermost loops are given and offer; isa.h compiles them. */

#ifndef MINIGRAD_KERNELS_H
#define MINIGRAD_KERNELS_H

#include <Python.h>

enum { MOST_ROWS = 14, MOST_VECTORS = 4, LINE = 16 /* floats of a cache line */, FEW_PIXELS = 16 };

/* Arrays that will be wanted soon: for each row of a product, so many floats of each. */
enum { MOST_SOON = 4 };
typedef struct {
    int arrays;
    const float *at[MOST_SOON];
    Py_ssize_t row[MOST_SOON];
} Soon;

/* What a tile computes; see tile.h. C has `columns` columns, at most those of the tile's vectors;
 * B and the bias are as wide as the vectors, with anything beyond the columns. */
typedef struct {
    Py_ssize_t taps, K, columns;
    const Py_ssize_t *offset;
    const float *A, *B, *bias;      /* bias: or NULL */
    Py_ssize_t a_row, a_step, b_step, c_row;
    float *C;
    int accumulate, relu, ahead;    /* C += instead of C =; max(C, 0) at the end; prefetch A */
    Soon soon;                      /* prefetch this too */
} Product;

typedef void (*Multiply)(const Product *);

/* Winograd's transforms, of a square of pixels to 36 sums and back; see winograd.h. */
typedef void (*Expand)(const float *const *from, Py_ssize_t ahead, Py_ssize_t channels, float *to,
                       Py_ssize_t step);
typedef int (*Reduce)(const float *from, Py_ssize_t step, Py_ssize_t channels, float *const *to,
                      const float *bias, int relu);

/* A row of outputs of a depthwise convolution, and what it sees; see depthwise.h. */
enum {
    MOST_TAPS = 5,  /* of a run */
    OUTPUTS = 8,    /* the most that are summed at a time */
    GRADS = 4,      /* of a weight gradient, likewise, */
    SUMS = 9        /* for so many taps at most */
};
typedef struct {
    const float *x;                 /* what output 0 sees, or would see if the image were wider */
    float *w;
    Py_ssize_t column;              /* where x is in its row */
} Run;
typedef struct {
    Py_ssize_t runs, channels, width, stride, y_row, y_pixel;
    Py_ssize_t inside, beyond;      /* the outputs that see all taps */
    const Run *run;
    const float *bias;              /* or NULL */
    float *y;                       /* output 0 */
    int relu;
} Depthwise;
typedef void (*DepthwiseRow)(const Depthwise *, Py_ssize_t first, Py_ssize_t end);

typedef struct {
    int lanes;                      /* floats to a vector; 0: there are no kernels */
    int widest;                     /* the most vectors of a tile */
    int rows[MOST_VECTORS];         /* [vectors - 1]: the most rows of a tile so wide */
    Multiply multiply[MOST_VECTORS][MOST_ROWS];  /* [vectors - 1][rows - 1] */
    void (*relu_grad)(
        Py_ssize_t pixels, Py_ssize_t channels, const float *g, const float *out,
        float *masked, Py_ssize_t masked_row, float *sums);
    Expand expand_input, expand_weights, expand_grad;
    Reduce reduce_output, reduce_weight_grad;
    DepthwiseRow depthwise[2][MOST_TAPS];   /* [stride - 1][taps of a run - 1]: writes y */
    DepthwiseRow depthwise_weight_grad[2][MOST_TAPS];  /* likewise: adds to w */
} Kernels;

#endif

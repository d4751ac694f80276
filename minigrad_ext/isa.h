/* The innermost loops, from one source for every instruction set that the compiler knows.
 *
 * They are written with the vector extensions of GCC and Clang. With another compiler there are
 * none, and convolutions are computed by BLAS.
 */

#include "kernels.h"

#define FOR_EACH_ROWS(DO, vectors)                                                        \
    DO(1, vectors) DO(2, vectors) DO(3, vectors) DO(4, vectors) DO(5, vectors)            \
    DO(6, vectors) DO(7, vectors) DO(8, vectors) DO(9, vectors) DO(10, vectors)           \
    DO(11, vectors) DO(12, vectors) DO(13, vectors) DO(14, vectors)
#define FOR_EACH_SIZE(DO)                                                           \
    FOR_EACH_ROWS(DO, 1) FOR_EACH_ROWS(DO, 2) FOR_EACH_ROWS(DO, 3) FOR_EACH_ROWS(DO, 4)
#define FOR_EACH_RUN(DO)                                                            \
    DO(1, 1) DO(2, 1) DO(3, 1) DO(4, 1) DO(5, 1)                                    \
    DO(2, 2) DO(3, 2) DO(4, 2) DO(5, 2)

#if defined(__GNUC__) && !defined(MINIGRAD_NO_VECTORS)  /* set to try the other case */
#define INLINE static inline __attribute__((always_inline))
#ifdef __clang__
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 64")
#endif

/* The baseline: 4 floats, which SSE2 and NEON hold in a register. */
#define LANES 4
#ifdef __aarch64__
#define REGISTERS 32
#define BASELINE "neon"
#else
#define REGISTERS 16
#define BASELINE "baseline"
#endif
#define NAME(name) name##_baseline
#include "tile.h"
#undef LANES
#undef REGISTERS
#undef NAME

#ifdef __x86_64__
#include <immintrin.h>  /* for what vector extensions cannot say: a part of a vector in memory */
#define HAS_AVX2 (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
#define HAS_AVX512 (HAS_AVX2 && __builtin_cpu_supports("avx512f") && \
    __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") && \
    __builtin_cpu_supports("avx512vl"))

#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#endif
#define LANES 8
#define REGISTERS 16
#define NAME(name) name##_avx2
#include "tile.h"
#undef LANES
#undef REGISTERS
#undef NAME
#ifdef __clang__
#pragma clang attribute pop
#pragma clang attribute push(                                                             \
    __attribute__((target("avx2,fma,avx512f,avx512bw,avx512dq,avx512vl"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl")
#endif
#define LANES 16
#define REGISTERS 32
#define NAME(name) name##_avx512
#include "tile.h"
#undef LANES
#undef REGISTERS
#undef NAME
#ifdef __clang__
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

#else
#define HAS_AVX2 0
#define HAS_AVX512 0
#define kernels_avx2 kernels_baseline
#define kernels_avx512 kernels_baseline
#endif

#else /* no vector extensions */
#define BASELINE "none"
#define HAS_AVX2 0
#define HAS_AVX512 0
static const Kernels kernels_baseline;
#define kernels_avx2 kernels_baseline
#define kernels_avx512 kernels_baseline
#endif

/* The instruction sets, best first. */
typedef struct { const char *name; const Kernels *kernels; } KnownKernels;
static const KnownKernels KNOWN_KERNELS[] = {
    {"avx512", &kernels_avx512}, {"avx2", &kernels_avx2}, {BASELINE, &kernels_baseline},
};

static int runs_here(int which)
{
    return which == 2 || (which == 1 && HAS_AVX2) || (which == 0 && HAS_AVX512);
}

# `cdef avx2_void f(...)` compiles f twice, with AVX2 and for the baseline, and the loader takes the
# one that this CPU can run: max pooling is 1.3 to 2 times as fast. Without FMA, which would round
# differently, so that both give the same bits. A `void` that GCC reads as an attribute and `void`.
#
# `cdef inline inlined_void g(...)` becomes a part of such an f, compiled as f is.
cdef extern from *:
    """
    #if defined(__GNUC__) && !defined(__clang__) && defined(__x86_64__) && defined(__GLIBC__)
    #define MINIGRAD_AVX2 __attribute__((target_clones("avx2", "default")))
    #else
    #define MINIGRAD_AVX2
    #endif
    #ifdef __GNUC__
    #define MINIGRAD_INLINED __attribute__((always_inline))
    #else
    #define MINIGRAD_INLINED
    #endif
    """
    ctypedef void avx2_void "MINIGRAD_AVX2 void"
    ctypedef void inlined_void "MINIGRAD_INLINED void"

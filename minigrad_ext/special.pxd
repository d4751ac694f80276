# exp and erf for loops that the compiler vectorises: in float32 polynomials, within 2 units
# in the last place without FMA. In float64, where accuracy comes first, they are the C library's.
from libc cimport math
from libc.stdint cimport int32_t
from libc.string cimport memcpy

from cython cimport floating

cdef enum:
    ROUNDER = 12582912  # 1.5 * 2^23: adding it to a float rounds that to an integer
    ROUNDER_BITS = 0x4B400000  # of this float; those of ROUNDER + n are n more


cdef inline floating exp_nonpositive(floating x) noexcept nogil:
    """e^x for x <= 0; NaN for NaN."""
    return _exp(x) if floating is float else math.exp(x)


cdef inline floating erf(floating x) noexcept nogil:
    return _erf(x) if floating is float else math.erf(x)


# As in Cephes' expf (S. Moshier, 1989): e^x = 2^n e^r with |r| <= log(2) / 2.
cdef inline float _exp(float x) noexcept nogil:
    cdef float rounded, n, r, y
    cdef int32_t exponent
    x = -104 if x < -104 else x  # where e^x rounds to 0 already
    rounded = x * <float> 1.44269504088896341 + <float> ROUNDER
    n = rounded - <float> ROUNDER
    r = x - n * <float> 0.693359375 - n * <float> -2.12194440e-4  # log(2) in two parts
    y = <float> 1.9875691500e-4
    y = y * r + <float> 1.3981999507e-3
    y = y * r + <float> 8.3334519073e-3
    y = y * r + <float> 4.1665795894e-2
    y = y * r + <float> 1.6666665459e-1
    y = y * r + <float> 5.0000001201e-1
    y = y * (r * r) + r + 1
    memcpy(&exponent, &rounded, sizeof(float))  # a cast would be undefined for NaN
    exponent -= ROUNDER_BITS
    # 2^n in two factors, because n can be less than the least exponent of a normal number.
    return y * _power_of_two(exponent >> 1) * _power_of_two(exponent - (exponent >> 1))


cdef inline float _power_of_two(int32_t n) noexcept nogil:
    cdef int32_t bits = (n + 127) * 8388608  # behind the 23 bits of the fraction
    cdef float power
    memcpy(&power, &bits, sizeof(float))
    return power


# By N. Juffa's minimax polynomials: of erf itself near 0, elsewhere of log(1 - erf).
cdef inline float _erf(float x) noexcept nogil:
    cdef float t = x if x > 0 else -x, s = x * x, near, far
    near = <float> -5.96761703e-4
    near = near * s + <float> 4.99119423e-3
    near = near * s + <float> -2.67681349e-2
    near = near * s + <float> 1.12819925e-1
    near = near * s + <float> -3.76125336e-1
    near = near * s + <float> 1.28379166e-1
    near = near * x + x
    far = <float> -1.72853470e-5 * t + <float> 3.83197126e-4
    far = far * s + (<float> -3.88396438e-3 * t + <float> 2.42546219e-2)
    far = far * t + <float> -1.06777877e-1
    far = far * t + <float> -6.34846687e-1
    far = far * t + <float> -1.28717512e-1
    far = 1 - _exp(far * t - t)
    far = far if x > 0 else -far
    return far if t > <float> 0.927734375 else near

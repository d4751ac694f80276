"""The instruction set of the register tiles: the best that this CPU has, chosen at import.

MINIGRAD_ISA asks for a lesser one: "avx2" or "baseline" on x86-64.
"""

import os

cdef extern from "isa.h":
    ctypedef struct KnownKernels:
        const char* name
        const Kernels* kernels
    const KnownKernels* KNOWN_KERNELS
    bint runs_here(int which)

cdef enum:
    KNOWN = 3


def available() -> list[str]:
    """Return the names of the instruction sets that this CPU can run, the best first."""
    return [KNOWN_KERNELS[i].name.decode() for i in range(KNOWN) if runs_here(i)]


def chosen() -> str:
    """Return the name of the instruction set in use.

    Raises:
        ImportError: MINIGRAD_ISA asks for one that is unknown, or that this CPU cannot run.
    """
    names = available()
    wanted = os.environ.get("MINIGRAD_ISA", names[0])
    if wanted not in names:
        raise ImportError(
            f"minigrad_ext: MINIGRAD_ISA expects one of {', '.join(names)} on this CPU, got "
            f"{wanted!r}; unset it to use the best"
        )
    return wanted


NAME = chosen()
cdef const Kernels* _kernels = NULL
for _i in range(KNOWN):
    if KNOWN_KERNELS[_i].name.decode() == NAME:
        _kernels = KNOWN_KERNELS[_i].kernels


cdef const Kernels* kernels() noexcept nogil:
    return _kernels

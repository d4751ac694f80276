# C types for declaration.py, which is compiled as it stands.

cimport cython

cdef int INPUT, SHAPE, OUT, CONFIG, RESIDUAL, INPUTS, SHAPES, G, NEEDS, JOINT


cdef class Declaration:
    cdef public object body, name, joint, rules
    cdef public tuple residuals, inputs, config
    cdef public dict optional, defaults, plans
    cdef public bint variadic
    cdef dict __dict__
    cdef object __weakref__


cdef class Plan:
    cdef public object op, joint
    cdef public tuple wanted
    cdef public Py_ssize_t count
    cdef public list unlinked, kept, noted, sources, small
    cdef public dict rules

    @cython.locals(values=list)
    cpdef tuple keep(self, list arrays, out, residuals, dict config)

    @cython.locals(i=Py_ssize_t)
    cpdef list pull(self, g, tuple kept, list parents, tuple wanted)

    @cython.locals(i=Py_ssize_t, places=list)
    cdef apply(self, Py_ssize_t which, g, tuple kept, needs)


@cython.locals(where=int)
cdef found(tuple source, list arrays, out, residuals, dict config)

# C types for engine.py, which is compiled as it stands.

cimport cython

from minigrad.declaration cimport Declaration, Plan


cdef class TensorSlots:
    cdef public object data, grad, hooks, memory, node
    cdef public bint requires_grad
    cdef object __weakref__


cdef class Op(Declaration):
    @cython.locals(arrays=list, parents=list, plain=bint, odd=bint, tensor=TensorSlots)
    cpdef apply(self, tuple inputs, dict config)

    @cython.locals(node=Node, plan=Plan, shared=bint)
    cpdef record(self, mask, list arrays, list parents, out, residuals, dict config)


cdef class Node:
    cdef public Plan plan
    cdef public list parents
    cdef public object kept, shape, dtype, hooks, memory, code, scope
    cdef public Py_ssize_t index, instruction

    cpdef gradients(self, g, tuple wanted, bint create_graph)


@cython.locals(gradients=dict, waiting=list, node=Node, wanted=tuple)
cpdef dict walk(outputs, seeds, targets=*, bint retain_graph=*, bint create_graph=*)


@cython.locals(node=Node)
cdef arrive(dict gradients, list waiting, vertex, g)


@cython.locals(node=Node)
cdef bint fits(g, vertex)


cdef pulled(Node node, g, tuple wanted, bint create_graph)


cdef fitted(Node node, partial, parent)


@cython.locals(kind=type, tensor=TensorSlots)
cpdef wrap(data, node=*, memory=*)

"""The one place where operations become operators and methods of Tensor."""

from typing import Any

from ..backend import backend_for, backend_of, is_device
from ..core import Op, Tensor
from . import elementwise, index, linalg, reduce, shape, softmax


class ToDevice(Op):
    """The same values on another device."""

    def __init__(self, device: str) -> None:
        self.device = device

    def forward(self, be: Any, x: Any) -> Any:
        return backend_for(self.device).from_numpy(be.to_numpy(x))

    def backward(self, g: Any) -> Any:
        back = "cpu" if self.device != "cpu" else "cuda"
        return to(g, back) if isinstance(g, Tensor) else backend_for(back).from_numpy(backend_of(g).to_numpy(g))


def to(x: Tensor, target: Any) -> Tensor:
    """x on a device ("cpu", "cuda", "cuda:0") or in a dtype ("float64", numpy.float16); gradients come back as x is.

    >>> import tinygrad_seq as ts
    >>> ts.tensor([1, 2]).to("float64").dtype
    dtype('float64')
    """
    if is_device(target):
        backend = backend_for(target)
        return x if backend is backend_of(x.data) else ToDevice(target)(x)
    return x if x.dtype == target else elementwise.astype(x, target)


def _reversed(function: Any) -> Any:
    return lambda x, other: function(other, x)


_METHODS: dict[str, Any] = {
    "__add__": elementwise.add,
    "__radd__": _reversed(elementwise.add),
    "__sub__": elementwise.sub,
    "__rsub__": _reversed(elementwise.sub),
    "__mul__": elementwise.mul,
    "__rmul__": _reversed(elementwise.mul),
    "__truediv__": elementwise.div,
    "__rtruediv__": _reversed(elementwise.div),
    "__pow__": elementwise.pow,
    "__rpow__": _reversed(elementwise.pow),
    "__matmul__": linalg.matmul,
    "__rmatmul__": _reversed(linalg.matmul),
    "__neg__": elementwise.neg,
    "__abs__": elementwise.abs,
    "__lt__": elementwise.less,
    "__le__": elementwise.less_equal,
    "__gt__": elementwise.greater,
    "__ge__": elementwise.greater_equal,
    "__eq__": elementwise.equal,
    "__ne__": elementwise.not_equal,
    "__and__": elementwise.logical_and,
    "__or__": elementwise.logical_or,
    "__invert__": elementwise.logical_not,
    "__getitem__": index.getitem,
    "T": property(shape.transpose),
    "to": to,
    "softmax": softmax.softmax,
} | {
    function.__name__: function
    for function in (
        elementwise.astype,
        elementwise.clip,
        elementwise.exp,
        elementwise.log,
        elementwise.relu,
        elementwise.sigmoid,
        elementwise.sqrt,
        elementwise.tanh,
        reduce.argmax,
        reduce.cumsum,
        reduce.max,
        reduce.mean,
        reduce.min,
        reduce.prod,
        reduce.std,
        reduce.sum,
        reduce.var,
        shape.reshape,
        shape.squeeze,
        shape.swapaxes,
        shape.transpose,
    )
}

for _name, _method in _METHODS.items():
    setattr(Tensor, _name, _method)

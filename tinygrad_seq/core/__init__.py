"""What autograd is: an array and its place, operations that know their derivative, and the walk back."""

from .checkpoint import checkpoint
from .engine import backward, grad
from .equations import equations
from .fused import FusedOp
from .op import Op
from .record import record
from .state import definitions, no_grad, scope
from .tensor import Leaf, Parameter, Tensor, tensor, value

__all__ = [
    "FusedOp",
    "Leaf",
    "Op",
    "Parameter",
    "Tensor",
    "backward",
    "checkpoint",
    "definitions",
    "equations",
    "grad",
    "no_grad",
    "record",
    "scope",
    "tensor",
    "value",
]

setattr(Tensor, "backward", backward)  # noqa: B010  # the engine stands above the tensor

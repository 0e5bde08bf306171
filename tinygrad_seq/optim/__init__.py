"""What changes the parameters: optimizers, gradient clipping, learning-rate schedules."""

from . import schedules
from .clip import clip_grad_norm, clip_grad_value, grad_norm
from .optimizers import SGD, Adam, AdamW, Optimizer, RMSprop

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "Optimizer",
    "RMSprop",
    "clip_grad_norm",
    "clip_grad_value",
    "grad_norm",
    "schedules",
]

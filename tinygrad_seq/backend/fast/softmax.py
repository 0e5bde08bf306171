"""softmax and its logarithm over the last axis, and softmax of what a mask lets through: rows shared among threads."""

from typing import Any

import numpy as np

from ..base import Kernel
from .compiler import jit, kernel
from .lanes import highest
from .norm import _sum, _sum_of_products
from .sequence import F32, flat
from .team import job, share, team
from .vector import exp

LOW = F32(np.finfo(F32).min / 2)  # the score of what is hidden: finite, so that a row of nothing but it has no 0 / 0
NO_MASK = np.empty((0, 0), np.bool_)


@jit
def _softmax_part(part: int, parts: int, x: Any, mask: Any, y: Any) -> None:
    rows = x.shape[0]
    for m in range(rows * part // parts, rows * (part + 1) // parts):
        x_m, mask_m, y_m = x[m], mask[m], y[m]  # without a mask, mask_m is empty
        for k in range(y_m.size):
            y_m[k] = x_m[k]
        for k in range(mask_m.size):
            y_m[k] = y_m[k] if mask_m[k] else LOW
        high = highest(y_m)
        for k in range(y_m.size):
            y_m[k] = exp(y_m[k] - high)
        for k in range(mask_m.size):
            y_m[k] *= F32(mask_m[k])
        total = _sum(y_m)
        times = F32(1) if total < F32(1) else F32(1) / total  # it is 1 or more, or 0 in a row that sees nothing
        for k in range(y_m.size):
            y_m[k] *= times


@jit
def _softmax_back_part(part: int, parts: int, y: Any, g: Any, dx: Any) -> None:
    rows = y.shape[0]
    for m in range(rows * part // parts, rows * (part + 1) // parts):
        y_m, g_m, dx_m = y[m], g[m], dx[m]
        along = _sum_of_products(y_m, g_m)
        for k in range(y_m.size):
            dx_m[k] = y_m[k] * (g_m[k] - along)


@jit
def _log_softmax_part(part: int, parts: int, x: Any, y: Any) -> None:
    rows = x.shape[0]
    for m in range(rows * part // parts, rows * (part + 1) // parts):
        x_m, y_m = x[m], y[m]
        high = highest(x_m)
        for k in range(y_m.size):
            y_m[k] = exp(x_m[k] - high)
        rest = np.log(_sum(y_m))
        for k in range(y_m.size):
            y_m[k] = (x_m[k] - high) - rest


@jit
def _log_softmax_back_part(part: int, parts: int, y: Any, g: Any, dx: Any) -> None:
    rows = y.shape[0]
    for m in range(rows * part // parts, rows * (part + 1) // parts):
        y_m, g_m, dx_m = y[m], g[m], dx[m]
        total = _sum(g_m)
        for k in range(y_m.size):
            dx_m[k] = g_m[k] - exp(y_m[k]) * total


_softmax_job, _softmax_back_job = job(_softmax_part), job(_softmax_back_part)
_log_softmax_job, _log_softmax_back_job = job(_log_softmax_part), job(_log_softmax_back_part)


@kernel
def _softmax(team: Any, *inputs: Any) -> None:
    share(_softmax_job(inputs), team, inputs)


@kernel
def _softmax_back(team: Any, *inputs: Any) -> None:
    share(_softmax_back_job(inputs), team, inputs)


@kernel
def _log_softmax(team: Any, *inputs: Any) -> None:
    share(_log_softmax_job(inputs), team, inputs)


@kernel
def _log_softmax_back(team: Any, *inputs: Any) -> None:
    share(_log_softmax_back_job(inputs), team, inputs)


def _rows(x: Any) -> Any:
    return flat(x).reshape(-1, x.shape[-1])


def _is_last(x: Any, axis: int) -> bool:
    return axis in (-1, x.ndim - 1)


def _softmax_forward(be: Any, x: Any, axis: int) -> Any:
    return _masked_forward(be, x, None) if _is_last(x, axis) else None


def _softmax_backward(be: Any, y: Any, inputs: Any, g: Any, needs: Any, axis: int) -> Any:
    return _masked_backward(be, y, inputs, g, needs, None)


def _masked_forward(be: Any, x: Any, mask: Any) -> Any:
    y = np.empty(x.shape, F32)
    seen = NO_MASK if mask is None else np.ascontiguousarray(np.broadcast_to(mask, x.shape)).reshape(-1, x.shape[-1])
    _softmax(team(x.size), _rows(x), seen, _rows(y))
    return y, y


def _masked_backward(be: Any, y: Any, inputs: Any, g: Any, needs: Any, mask: Any) -> Any:
    dx = np.empty(y.shape, F32)
    _softmax_back(team(y.size // 4), _rows(y), _rows(g), _rows(dx))
    return dx


def _log_softmax_forward(be: Any, x: Any, axis: int) -> Any:
    if not _is_last(x, axis):
        return None
    y = np.empty(x.shape, F32)
    _log_softmax(team(x.size), _rows(x), _rows(y))
    return y, y


def _log_softmax_backward(be: Any, y: Any, inputs: Any, g: Any, needs: Any, axis: int) -> Any:
    dx = np.empty(y.shape, F32)
    _log_softmax_back(team(y.size), _rows(y), _rows(g), _rows(dx))
    return dx


softmax = Kernel(_softmax_forward, _softmax_backward)
log_softmax = Kernel(_log_softmax_forward, _log_softmax_backward)
masked_softmax = Kernel(_masked_forward, _masked_backward)

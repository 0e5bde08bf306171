"""Layer norm over the last axis, row by row: each is read from memory once."""

from typing import Any

import numpy as np

from ..base import Kernel
from .compiler import jit, kernel, reduction
from .sequence import F32, flat
from .team import SIZE, job, share, team

ONE = F32(1)
PART = 64  # rows that are added up before they are added to the others: the shorter a sum, the less float32 rounds


@reduction
def _sum(a: Any) -> Any:
    total = F32(0)
    for k in range(a.size):
        total += a[k]
    return total


@reduction
def _sum_of_products(a: Any, b: Any) -> Any:
    total = F32(0)
    for k in range(a.size):
        total += a[k] * b[k]
    return total


@jit
def _norm_part(part: int, parts: int, x: Any, weight: Any, bias: Any, eps: Any, means: Any, r: Any, y: Any) -> None:
    """y = n γ + β with n = (x - μ) r, r = 1 / √(σ² + ε), and μ and r; of no γ or β, an empty array."""
    rows, D = x.shape
    for m in range(rows * part // parts, rows * (part + 1) // parts):
        x_m, y_m = x[m], y[m]
        mean = _sum(x_m) / F32(D)
        for k in range(D):
            y_m[k] = x_m[k] - mean
        r_m = ONE / np.sqrt(_sum_of_products(y_m, y_m) / F32(D) + eps)
        means[m], r[m] = mean, r_m
        for k in range(D):
            y_m[k] *= r_m
        if weight.size:
            for k in range(D):
                y_m[k] *= weight[k]
        if bias.size:
            for k in range(D):
                y_m[k] += bias[k]


@jit
def _norm_back_part(
    part: int,
    parts: int,
    g: Any,
    x: Any,
    means: Any,
    r: Any,
    weight: Any,
    dx: Any,
    dweights: Any,
    dbiases: Any,
) -> None:
    """n is computed again: to keep it costs more. dweights and dbiases, zeros, have a row for each part."""
    rows, D = g.shape
    dweight, dbias, n_m = dweights[part], dbiases[part], np.empty(D, F32)
    part_weight, part_bias, ones = np.zeros(D, F32), np.zeros(D, F32), np.ones(D, F32)
    scale = weight if weight.size else ones
    first, end = rows * part // parts, rows * (part + 1) // parts
    for m in range(first, end):
        g_m, x_m, dx_m, mean_m, r_m = g[m], x[m], dx[m], means[m], r[m]
        for k in range(D):
            n_m[k] = (x_m[k] - mean_m) * r_m
            part_weight[k] += g_m[k] * n_m[k]
            part_bias[k] += g_m[k]
            dx_m[k] = g_m[k] * scale[k]
        mean, along = _sum(dx_m) / F32(D), _sum_of_products(dx_m, n_m) / F32(D)
        for k in range(D):
            dx_m[k] = (dx_m[k] - mean - n_m[k] * along) * r_m
        if (m - first) % PART == PART - 1 or m == end - 1:
            for k in range(D):
                dweight[k] += part_weight[k]
                dbias[k] += part_bias[k]
                part_weight[k] = F32(0)
                part_bias[k] = F32(0)


_norm_job, _norm_back_job = job(_norm_part), job(_norm_back_part)


@kernel
def _norm(team: Any, *inputs: Any) -> None:
    share(_norm_job(inputs), team, inputs)


@kernel
def _norm_back(team: Any, *inputs: Any) -> None:
    share(_norm_back_job(inputs), team, inputs)


def _or_none(p: Any) -> Any:
    return np.empty(0, F32) if p is None else flat(p)


def _forward(be: Any, x: Any, weight: Any, bias: Any, eps: float) -> tuple[Any, Any]:
    rows = flat(x).reshape(-1, x.shape[-1])
    means, r, y = np.empty(len(rows), F32), np.empty(len(rows), F32), np.empty(rows.shape, F32)
    _norm(team(x.size), rows, _or_none(weight), _or_none(bias), F32(eps), means, r, y)
    return y.reshape(x.shape), (means, r)


def _backward(be: Any, tape: Any, inputs: Any, g: Any, needs: Any, eps: float) -> Any:
    x, desks = flat(inputs[0]).reshape(-1, g.shape[-1]), team(g.size)
    dx, parts = np.empty(x.shape, F32), np.zeros((2, desks[SIZE], x.shape[1]), F32)
    _norm_back(desks, flat(g).reshape(x.shape), x, *tape, _or_none(inputs[1]), dx, *parts)
    dweight, dbias = parts.sum(1)
    return dx.reshape(g.shape), dweight if needs[1] else None, dbias if needs[2] else None


layer_norm = Kernel(_forward, _backward)

"""Check that hostcuda runs kernels as a GPU would: shared memory, barriers, shuffles, graphs, products.

Runs inside `tests/gpu/run_real_cupy.py`; an assertion fails where it does not.
"""

from __future__ import annotations

import types
from typing import Any

import numpy as np

BLOCK_SUM = r"""
extern "C" __global__ void block_sum(const float* x, float* out, int n) {
    __shared__ float part[128];
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    part[threadIdx.x] = i < n ? x[i] : 0.0f;
    __syncthreads();
    for (int step = blockDim.x / 2; step > 0; step /= 2) {
        if (threadIdx.x < step) part[threadIdx.x] += part[threadIdx.x + step];
        __syncthreads();
    }
    if (threadIdx.x == 0) out[blockIdx.x] = part[0];
}
"""

WARP_SUM = r"""
extern "C" __global__ void warp_sum(const float* x, float* out) {
    float value = x[threadIdx.x];
    for (int step = 16; step > 0; step /= 2) value += __shfl_down_sync(0xffffffffu, value, step);
    if (threadIdx.x == 0) atomicAdd(out, value);
}
"""

REVERSE = r"""
extern "C" __global__ void reverse(const float* x, float* out, int n) {
    extern __shared__ float part[];
    part[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    out[threadIdx.x] = part[n - 1 - threadIdx.x];
}
"""


def check_kernels(cp: Any) -> None:
    host = np.random.default_rng(0).standard_normal(1000).astype(np.float32)
    x = cp.asarray(host)
    sums = cp.empty(8, np.float32)
    cp.RawKernel(BLOCK_SUM, "block_sum")((8,), (128,), (x, sums, np.int32(1000)))
    expected = np.pad(host, (0, 24)).reshape(8, 128).sum(1)
    np.testing.assert_allclose(sums.get(), expected, rtol=1e-4, atol=1e-4)

    total = cp.zeros(1, np.float32)
    cp.RawKernel(WARP_SUM, "warp_sum")((1,), (32,), (x, total))
    np.testing.assert_allclose(total.get(), host[:32].sum(), rtol=1e-4)

    out = cp.empty(64, np.float32)
    cp.RawKernel(REVERSE, "reverse")((1,), (64,), (x, out, np.int32(64)), shared_mem=256)
    np.testing.assert_array_equal(out.get(), host[:64][::-1])

    scaled = cp.ElementwiseKernel("T x, T a", "T y", "y = a * x", "selfcheck_scaled")
    np.testing.assert_array_equal(scaled(x, np.float32(2)).get(), 2 * host)

    def tanh_times(a: Any, b: Any) -> Any:
        return cp.tanh(a) * b + 1

    fused = cp.fuse(tanh_times)
    np.testing.assert_allclose(fused(x, x).get(), np.tanh(host) * host + 1, rtol=1e-5)


def check_products(cp: Any) -> None:
    rng = np.random.default_rng(1)
    for dtype, tolerance in (("f4", 1e-5), ("f8", 1e-12), ("f2", 1e-2)):
        a = rng.standard_normal((2, 3, 5)).astype(dtype)
        b = rng.standard_normal((2, 5, 4)).astype(dtype)
        for left, right in ((a[0], b[0]), (a, b), (a, b[0]), (b[0].T, a[0].T)):
            product = cp.asarray(left) @ cp.asarray(right)
            assert product.dtype == np.dtype(dtype)
            np.testing.assert_allclose(product.get(), left @ right, rtol=tolerance, atol=tolerance)
    x = cp.arange(6.0).reshape(2, 3)
    assert cp.asfortranarray(x).flags.f_contiguous
    np.testing.assert_array_equal(cp.asfortranarray(x).get(), x.get())


def check_graph(cp: Any) -> None:
    """A captured graph runs again on what its arrays hold then."""
    x = cp.ones(4)
    y = cp.empty(4)
    cp.multiply(x, 2, out=y)  # compiled before the capture, in which nothing may be allocated
    stream = cp.cuda.Stream(non_blocking=True)
    with stream:
        stream.begin_capture()
        cp.multiply(x, 2, out=y)
        graph = stream.end_capture()
        x.fill(5)
        graph.launch(stream)
        stream.synchronize()
    np.testing.assert_array_equal(y.get(), np.full(4, 10.0))


def check_random(cp: Any) -> None:
    cp.random.seed(0)
    draws = cp.random.standard_normal(4000, dtype="f").get()
    assert abs(draws.mean()) < 0.1
    assert abs(draws.std() - 1) < 0.1


def check_counters(cp: Any, counters: Any) -> None:
    x = cp.ones(4)
    _ = x + 1
    before = counters.snap()
    y = x + 1
    float(y[0])
    after = counters.snap()
    assert after["launches"] - before["launches"] == 1
    assert after["syncs"] - before["syncs"] == 1
    assert after["d2h"] - before["d2h"] == 1


def main(hc: types.SimpleNamespace) -> None:
    check_kernels(hc.cupy)
    check_products(hc.cupy)
    check_graph(hc.cupy)
    check_random(hc.cupy)
    check_counters(hc.cupy, hc.counters)
    print("hostcuda: kernels, products, graphs, random numbers and counters are as expected")

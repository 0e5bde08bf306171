// CUDA C++ for a host compiler: enough of its words, functions and launch rules to run kernels on a CPU.
//
// Everything runs in one thread of the operating system.  Where a kernel has barriers or shuffles, the threads of a
// block are fibers that give way to each other at each barrier; otherwise they are a plain loop.
#pragma once
#include <cstdint>
#include <cstddef>
#include <cstring>
#include <cstdio>
#include <cstdlib>
#include <cmath>
#include <cassert>
#include <climits>
#include <algorithm>
#include <vector>
#include <tuple>
#include <type_traits>
#include <utility>
#include <ucontext.h>
#include <vector_types.h>      // dim3, uint3, float4: CUDA's own headers, which serve host compilers too
#include <vector_functions.h>

#undef __global__
#undef __device__
#undef __host__
#undef __constant__
#undef __forceinline__
#undef __noinline__
#undef __launch_bounds__
#undef __shared__
#undef __grid_constant__
#define __global__
#define __device__
#define __host__
#define __constant__
#define __forceinline__ inline
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __shared__ static      // one block runs at a time, so a static variable is shared by exactly its threads
#define __grid_constant__

namespace hc {

static dim3 tIdx_, bIdx_, bDim_, gDim_;
static char dynsmem[65536] __attribute__((aligned(256)));

// ---- Fibers ---------------------------------------------------------------------------------------------------------

enum { RUN, WAIT_BLOCK, WAIT_WARP, DONE };

struct Fiber {
    ucontext_t ctx;
    int state;
    dim3 tid;
    int lin;
};

static ucontext_t sched_;
static std::vector<Fiber>* fibers_ = nullptr;
static int cur_ = -1;
static void (*body_)(void*);
static void* bodyarg_;
static unsigned long long warpslot_[1024];

static inline void yield_(int state) {
    Fiber& fiber = (*fibers_)[cur_];
    fiber.state = state;
    swapcontext(&fiber.ctx, &sched_);
    tIdx_ = fiber.tid;
}

static void tramp_() {
    body_(bodyarg_);
    (*fibers_)[cur_].state = DONE;
    swapcontext(&(*fibers_)[cur_].ctx, &sched_);
}

// HOSTCUDA_ORDER permutes the order in which threads run: with a missing barrier, the result changes.
static int ordmode_() {
    const char* text = getenv("HOSTCUDA_ORDER");
    return text ? atoi(text) : 0;
}

static inline int order_(int i, int n) {
    static int mode = ordmode_();
    if (mode == 0) return i;
    if (mode == 1) return n - 1 - i;
    return (int)(((long long)i * (2 * mode + 1) + mode) % n);
}

static void run_block(int nth) {
    static std::vector<char> stacks;
    const size_t stack_size = 64 * 1024;
    if (stacks.size() < stack_size * nth) stacks.resize(stack_size * nth);
    std::vector<Fiber> fs(nth);
    fibers_ = &fs;
    for (int i = 0; i < nth; i++) {
        Fiber& fiber = fs[i];
        fiber.lin = i;
        fiber.state = RUN;
        fiber.tid = dim3(i % bDim_.x, (i / bDim_.x) % bDim_.y, i / (bDim_.x * bDim_.y));
        getcontext(&fiber.ctx);
        fiber.ctx.uc_stack.ss_sp = stacks.data() + stack_size * i;
        fiber.ctx.uc_stack.ss_size = stack_size;
        fiber.ctx.uc_link = &sched_;
        makecontext(&fiber.ctx, tramp_, 0);
    }
    for (;;) {
        bool progress = false;
        for (int k = 0; k < nth; k++) {
            int i = order_(k, nth);
            if (fs[i].state != RUN) continue;
            cur_ = i;
            tIdx_ = fs[i].tid;
            swapcontext(&sched_, &fs[i].ctx);
            progress = true;
        }
        // A warp goes on when all of its living threads wait for it.
        for (int warp = 0; warp < nth; warp += 32) {
            int end = std::min(nth, warp + 32);
            bool all_wait = true;
            int alive = 0;
            for (int i = warp; i < end; i++) {
                if (fs[i].state == DONE) continue;
                alive++;
                if (fs[i].state != WAIT_WARP) all_wait = false;
            }
            if (!alive || !all_wait) continue;
            for (int i = warp; i < end; i++) {
                if (fs[i].state == WAIT_WARP) fs[i].state = RUN;
            }
            progress = true;
        }
        int live = 0;
        int at_barrier = 0;
        for (int i = 0; i < nth; i++) {
            if (fs[i].state != DONE) live++;
            if (fs[i].state == WAIT_BLOCK) at_barrier++;
        }
        if (!live) break;
        if (at_barrier == live) {
            for (auto& fiber : fs) {
                if (fiber.state == WAIT_BLOCK) fiber.state = RUN;
            }
            progress = true;
        }
        if (!progress) {
            fprintf(stderr, "hostcuda: DEADLOCK: divergent __syncthreads/__shfl ");
            fprintf(stderr, "(block %u: %d live, %d at block barrier)\n", bIdx_.x, live, at_barrier);
            abort();
        }
    }
    fibers_ = nullptr;
}

static inline void syncthreads() {
    if (fibers_) {
        yield_(WAIT_BLOCK);
    } else if (bDim_.x * bDim_.y * bDim_.z != 1) {
        fprintf(stderr, "barrier without fibers\n");
        abort();
    }
}

static inline int lin_() { return tIdx_.x + bDim_.x * (tIdx_.y + bDim_.y * tIdx_.z); }

// A shuffle: every lane puts its value down, all wait, every lane takes one up, all wait.
template <class T>
static inline T shfl_(T value, int source_lane, bool in_range) {
    int lane = lin_();
    unsigned long long bits = 0;
    memcpy(&bits, &value, sizeof(T));
    warpslot_[lane] = bits;
    yield_(WAIT_WARP);
    T result = value;
    if (in_range) memcpy(&result, &warpslot_[(lane & ~31) | (source_lane & 31)], sizeof(T));
    yield_(WAIT_WARP);
    return result;
}

// ---- Launching: parameters come as an array of pointers and are unpacked by the kernel's types ----------------------

template <class T>
using plain = typename std::remove_cv<typename std::remove_reference<T>::type>::type;

template <class... A>
struct Launcher {
    void (*kernel)(A...);
    void** params;

    template <size_t... I>
    void call(std::index_sequence<I...>) {
        kernel(*(plain<A>*)params[I]...);
    }

    static void body(void* self) { ((Launcher*)self)->call(std::index_sequence_for<A...>()); }
};

// With `query` given nothing runs: it receives the number of parameters and the size of each.
template <class... A>
void launch(void (*kernel)(A...), void** params, const unsigned* grid, const unsigned* block, unsigned shared,
            int* query, bool barriers) {
    if (query) {
        int sizes[] = {(int)sizeof(typename std::remove_reference<A>::type)..., 0};
        query[0] = sizeof...(A);
        for (size_t i = 0; i < sizeof...(A); i++) query[1 + i] = sizes[i];
        return;
    }
    Launcher<A...> launcher{kernel, params};
    gDim_ = dim3(grid[0], grid[1], grid[2]);
    bDim_ = dim3(block[0], block[1], block[2]);
    int threads = block[0] * block[1] * block[2];
    body_ = &Launcher<A...>::body;
    bodyarg_ = &launcher;
    for (unsigned z = 0; z < grid[2]; z++)
        for (unsigned y = 0; y < grid[1]; y++)
            for (unsigned x = 0; x < grid[0]; x++) {
                bIdx_ = dim3(x, y, z);
                if (shared) memset(dynsmem, 0xCB, shared);  // shared memory starts as garbage on a GPU too
                if (barriers) {
                    run_block(threads);
                    continue;
                }
                for (unsigned tz = 0; tz < block[2]; tz++)
                    for (unsigned ty = 0; ty < block[1]; ty++)
                        for (unsigned tx = 0; tx < block[0]; tx++) {
                            tIdx_ = dim3(tx, ty, tz);
                            launcher.body(&launcher);
                        }
            }
}

}  // namespace hc

// ---- The words and functions of CUDA C++ ----------------------------------------------------------------------------

#define threadIdx hc::tIdx_
#define blockIdx hc::bIdx_
#define blockDim hc::bDim_
#define gridDim hc::gDim_
#define warpSize 32
#define __syncthreads() hc::syncthreads()
#define __syncwarp(...) hc::yield_(hc::WAIT_WARP)
#define __threadfence() ((void)0)
#define __shfl_sync(mask, v, s, ...) hc::shfl_(v, (s), true)
#define __shfl_down_sync(mask, v, d, ...) hc::shfl_(v, (hc::lin_() & 31) + (d), ((hc::lin_() & 31) + (d)) < 32)
#define __shfl_up_sync(mask, v, d, ...) hc::shfl_(v, (hc::lin_() & 31) - (d), ((hc::lin_() & 31) - (int)(d)) >= 0)
#define __shfl_xor_sync(mask, v, d, ...) hc::shfl_(v, (hc::lin_() & 31) ^ (d), true)
#define CUDART_CB

static inline int __popc(unsigned x) { return __builtin_popcount(x); }
static inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
static inline int __clzll(long long x) { return x ? __builtin_clzll((unsigned long long)x) : 64; }
static inline int __clz(int x) { return x ? __builtin_clz((unsigned)x) : 32; }
static inline int __ffs(int x) { return __builtin_ffs(x); }

static inline float __expf(float x) { return expf(x); }
static inline float __logf(float x) { return logf(x); }
static inline float __fdividef(float a, float b) { return a / b; }
static inline float __frcp_rn(float a) { return 1.f / a; }
static inline float rsqrtf(float x) { return 1.f / sqrtf(x); }
static inline double rsqrt(double x) { return 1. / std::sqrt(x); }
static inline float rsqrt(float x) { return 1.f / sqrtf(x); }
static inline double exp10(double x) { return std::pow(10., x); }

template <class To, class From>
static inline To hc_bits(From value) {
    To result;
    memcpy(&result, &value, sizeof(To));
    return result;
}
static inline int __float_as_int(float f) { return hc_bits<int>(f); }
static inline float __int_as_float(int i) { return hc_bits<float>(i); }
static inline unsigned __float_as_uint(float f) { return hc_bits<unsigned>(f); }
static inline float __uint_as_float(unsigned i) { return hc_bits<float>(i); }
static inline long long __double_as_longlong(double f) { return hc_bits<long long>(f); }
static inline double __longlong_as_double(long long i) { return hc_bits<double>(i); }

template <class T>
static inline T __ldg(const T* p) { return *p; }

using std::isfinite;
using std::isinf;
using std::isnan;
using std::max;
using std::min;
using std::signbit;

// CUDA's min and max take two different types.
template <class T, class U>
static inline typename std::common_type<T, U>::type max(T a, U b) {
    typedef typename std::common_type<T, U>::type C;
    return (C)a > (C)b ? (C)a : (C)b;
}
template <class T, class U>
static inline typename std::common_type<T, U>::type min(T a, U b) {
    typedef typename std::common_type<T, U>::type C;
    return (C)a < (C)b ? (C)a : (C)b;
}

// Atomics: one thread of the operating system, so plain reads and writes are atomic.
#define HC_ATOMIC(NAME, T, NEW)              \
    static inline T NAME(T* p, T v) {        \
        T old = *p;                          \
        *p = (NEW);                          \
        return old;                          \
    }
#define HC_ATOMIC_FLOAT(T)                   \
    HC_ATOMIC(atomicAdd, T, old + v)         \
    HC_ATOMIC(atomicExch, T, v)
#define HC_ATOMIC_INT(T)                     \
    HC_ATOMIC_FLOAT(T)                       \
    HC_ATOMIC(atomicSub, T, old - v)         \
    HC_ATOMIC(atomicMax, T, v > old ? v : old) \
    HC_ATOMIC(atomicMin, T, v < old ? v : old) \
    HC_ATOMIC(atomicOr, T, old | v)          \
    HC_ATOMIC(atomicAnd, T, old & v)         \
    HC_ATOMIC(atomicXor, T, old ^ v)         \
    static inline T atomicCAS(T* p, T expected, T v) { \
        T old = *p;                          \
        if (old == expected) *p = v;         \
        return old;                          \
    }
HC_ATOMIC_INT(int)
HC_ATOMIC_INT(unsigned)
HC_ATOMIC_INT(unsigned long long)
HC_ATOMIC_FLOAT(float)
HC_ATOMIC_FLOAT(double)
HC_ATOMIC(atomicMax, long long, v > old ? v : old)
HC_ATOMIC(atomicMin, long long, v < old ? v : old)
HC_ATOMIC(atomicInc, unsigned, old >= v ? 0 : old + 1)

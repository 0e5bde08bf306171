// A stand-in for cuBLAS on the CPU: the matrix products that CuPy asks for, by three plain loops.
//
// Every other symbol that CuPy looks up exists too, says so on stderr and returns CUBLAS_STATUS_NOT_SUPPORTED.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>

// Runs the work now, or notes it down while a graph is captured; in hostcuda.cpp.
extern "C" void hc_submit(void (*fn)(void*), void* arg, size_t n, const char* name);

// ---- The small floats -----------------------------------------------------------------------------------------------

static float half_to_float(uint16_t h) {
    uint32_t sign = (h & 0x8000u) << 16;
    uint32_t exponent = (h >> 10) & 31;
    uint32_t mantissa = h & 1023;
    uint32_t bits;
    if (exponent == 31) {
        bits = sign | 0x7f800000 | (mantissa << 13);
    } else if (exponent) {
        bits = sign | ((exponent + 112) << 23) | (mantissa << 13);
    } else if (!mantissa) {
        bits = sign;
    } else {  // subnormal: shift until the leading one is implicit
        exponent = 113;
        while (!(mantissa & 1024)) {
            mantissa <<= 1;
            exponent--;
        }
        bits = sign | (exponent << 23) | ((mantissa & 1023) << 13);
    }
    float result;
    memcpy(&result, &bits, 4);
    return result;
}

// Rounds to nearest, ties to even.
static uint16_t float_to_half(float f) {
    uint32_t x;
    memcpy(&x, &f, 4);
    uint32_t sign = (x >> 16) & 0x8000;
    int exponent = (int)((x >> 23) & 255) - 112;
    uint32_t mantissa = x & 0x7fffff;
    if (((x >> 23) & 255) == 255) return sign | 0x7c00 | (mantissa ? 0x200 : 0);
    if (exponent >= 31) return sign | 0x7c00;
    if (exponent <= 0) {
        if (exponent < -10) return sign;
        mantissa |= 0x800000;
        int shift = 14 - exponent;
        uint32_t result = mantissa >> shift;
        uint32_t rest = mantissa & ((1u << shift) - 1);
        uint32_t half = 1u << (shift - 1);
        if (rest > half || (rest == half && (result & 1))) result++;
        return sign | result;
    }
    uint32_t result = (exponent << 10) | (mantissa >> 13);
    uint32_t rest = mantissa & 0x1fff;
    if (rest > 0x1000 || (rest == 0x1000 && (result & 1))) result++;
    return sign | result;
}

static float bfloat_to_float(uint16_t b) {
    uint32_t bits = (uint32_t)b << 16;
    float result;
    memcpy(&result, &bits, 4);
    return result;
}

static uint16_t float_to_bfloat(float f) {
    uint32_t x;
    memcpy(&x, &f, 4);
    if ((x & 0x7fffffff) > 0x7f800000) return 0x7fc0;
    return (x + 0x7fff + ((x >> 16) & 1)) >> 16;
}

enum { R32F = 0, R64F = 1, R16F = 2, R16BF = 14 };  // cudaDataType

static double load(const void* p, int type, size_t i) {
    switch (type) {
        case R32F: return ((const float*)p)[i];
        case R64F: return ((const double*)p)[i];
        case R16F: return half_to_float(((const uint16_t*)p)[i]);
        default: return bfloat_to_float(((const uint16_t*)p)[i]);
    }
}

static void store(void* p, int type, size_t i, double value) {
    switch (type) {
        case R32F: ((float*)p)[i] = (float)value; break;
        case R64F: ((double*)p)[i] = value; break;
        case R16F: ((uint16_t*)p)[i] = float_to_half((float)value); break;
        default: ((uint16_t*)p)[i] = float_to_bfloat((float)value);
    }
}

static size_t size_of(int type) { return type == R64F ? 8 : (type == R32F ? 4 : 2); }

// ---- The product: C = alpha op(A) op(B) + beta C, in columns as Fortran has them ------------------------------------

struct Gemm {
    int ta, tb, m, n, k;
    double alpha, beta;
    const void* a;
    int a_type, lda;
    long long a_stride;
    const void* b;
    int b_type, ldb;
    long long b_stride;
    void* c;
    int c_type, ldc;
    long long c_stride;
    int batch;
    int pointers;  // a, b and c are arrays of pointers, one a batch
};

static void run_gemm(void* arg) {
    Gemm& g = *(Gemm*)arg;
    for (int q = 0; q < g.batch; q++) {
        const char* a = (const char*)g.a + q * g.a_stride * size_of(g.a_type);
        const char* b = (const char*)g.b + q * g.b_stride * size_of(g.b_type);
        char* c = (char*)g.c + q * g.c_stride * size_of(g.c_type);
        if (g.pointers) {
            a = ((const char* const*)g.a)[q];
            b = ((const char* const*)g.b)[q];
            c = ((char* const*)g.c)[q];
        }
        for (int j = 0; j < g.n; j++)
            for (int i = 0; i < g.m; i++) {
                double sum = 0;
                for (int l = 0; l < g.k; l++) {
                    size_t in_a = g.ta ? (size_t)i * g.lda + l : (size_t)l * g.lda + i;
                    size_t in_b = g.tb ? (size_t)l * g.ldb + j : (size_t)j * g.ldb + l;
                    sum += load(a, g.a_type, in_a) * load(b, g.b_type, in_b);
                }
                size_t in_c = (size_t)j * g.ldc + i;
                // With beta zero C is not read: it may be NaN.
                double before = g.beta != 0 ? g.beta * load(c, g.c_type, in_c) : 0;
                store(c, g.c_type, in_c, g.alpha * sum + before);
            }
    }
}

static int submit(const char* name, Gemm g) {
    char text[200];
    snprintf(text, 200, "cublas:%s(m=%d,n=%d,k=%d,batch=%d,ta=%d,tb=%d,type=%d)", name, g.m, g.n, g.k, g.batch, g.ta,
             g.tb, g.a_type);
    hc_submit(run_gemm, &g, sizeof g, text);
    return 0;
}

// The type of alpha and beta follows from the type of the computation:
// CUBLAS_COMPUTE_64F and _PEDANTIC are 70 and 71, CUDA_R_64F is 1.
static double scalar(const void* p, int compute) {
    bool is_double = compute == 70 || compute == 71 || compute == 1;
    return is_double ? *(const double*)p : *(const float*)p;
}

// ---- A sum of two matrices: C = alpha op(A) + beta op(B), with which CuPy makes arrays in Fortran's order -----------

struct Geam {
    int ta, tb, m, n;
    double alpha, beta;
    const void* a;
    int lda;
    const void* b;
    int ldb;
    void* c;
    int ldc, type;
};

static void run_geam(void* arg) {
    Geam& g = *(Geam*)arg;
    for (int j = 0; j < g.n; j++)
        for (int i = 0; i < g.m; i++) {
            double sum = 0;
            if (g.alpha != 0) sum += g.alpha * load(g.a, g.type, g.ta ? (size_t)i * g.lda + j : (size_t)j * g.lda + i);
            if (g.beta != 0) sum += g.beta * load(g.b, g.type, g.tb ? (size_t)i * g.ldb + j : (size_t)j * g.ldb + i);
            store(g.c, g.type, (size_t)j * g.ldc + i, sum);
        }
}

static int pointer_mode = 0;
static int math_mode = 0;

extern "C" {

int cublasCreate_v2(void** handle) {
    *handle = (void*)0xb1a5;
    return 0;
}
int cublasDestroy_v2(void*) { return 0; }
int cublasSetStream_v2(void*, void*) { return 0; }
int cublasGetStream_v2(void*, void** stream) {
    *stream = 0;
    return 0;
}
int cublasSetPointerMode_v2(void*, int mode) {
    pointer_mode = mode;
    return 0;
}
int cublasGetPointerMode_v2(void*, int* mode) {
    *mode = pointer_mode;
    return 0;
}
int cublasSetMathMode(void*, int mode) {
    math_mode = mode;
    return 0;
}
int cublasGetMathMode(void*, int* mode) {
    *mode = math_mode;
    return 0;
}
int cublasGetVersion_v2(void*, int* version) {
    *version = 130000;
    return 0;
}

// One type throughout, single (S) or double (D)
#define PRODUCTS(LETTER, T, TYPE)                                                                                      \
    int cublas##LETTER##gemm_v2(void*, int ta, int tb, int m, int n, int k, const T* alpha, const T* a, int lda,       \
                                const T* b, int ldb, const T* beta, T* c, int ldc) {                                   \
        return submit(#LETTER "gemm", Gemm{ta, tb, m, n, k, *alpha, *beta, a, TYPE, lda, 0, b, TYPE, ldb, 0, c, TYPE,  \
                                           ldc, 0, 1, 0});                                                             \
    }                                                                                                                  \
    int cublas##LETTER##gemmBatched(void*, int ta, int tb, int m, int n, int k, const T* alpha, const void* a, int lda,\
                                    const void* b, int ldb, const T* beta, void* c, int ldc, int batch) {              \
        return submit(#LETTER "gemmBatched", Gemm{ta, tb, m, n, k, *alpha, *beta, a, TYPE, lda, 0, b, TYPE, ldb, 0, c, \
                                                  TYPE, ldc, 0, batch, 1});                                            \
    }                                                                                                                  \
    int cublas##LETTER##gemmStridedBatched(void*, int ta, int tb, int m, int n, int k, const T* alpha, const void* a,  \
                                           int lda, long long a_stride, const void* b, int ldb, long long b_stride,    \
                                           const T* beta, void* c, int ldc, long long c_stride, int batch) {           \
        return submit(#LETTER "gemmStridedBatched", Gemm{ta, tb, m, n, k, *alpha, *beta, a, TYPE, lda, a_stride, b,    \
                                                         TYPE, ldb, b_stride, c, TYPE, ldc, c_stride, batch, 0});      \
    }                                                                                                                  \
    int cublas##LETTER##geam(void*, int ta, int tb, int m, int n, const T* alpha, const T* a, int lda, const T* beta,  \
                             const T* b, int ldb, T* c, int ldc) {                                                     \
        Geam g{ta, tb, m, n, *alpha, *beta, a, lda, b, ldb, c, ldc, TYPE};                                             \
        hc_submit(run_geam, &g, sizeof g, "cublas:" #LETTER "geam");                                                   \
        return 0;                                                                                                      \
    }
PRODUCTS(S, float, R32F)
PRODUCTS(D, double, R64F)

// Types given by the call
int cublasSgemmEx(void*, int ta, int tb, int m, int n, int k, const float* alpha, const void* a, int a_type, int lda,
                  const void* b, int b_type, int ldb, const float* beta, void* c, int c_type, int ldc) {
    return submit("SgemmEx",
                  Gemm{ta, tb, m, n, k, *alpha, *beta, a, a_type, lda, 0, b, b_type, ldb, 0, c, c_type, ldc, 0, 1, 0});
}
int cublasGemmEx(void*, int ta, int tb, int m, int n, int k, const void* alpha, const void* a, int a_type, int lda,
                 const void* b, int b_type, int ldb, const void* beta, void* c, int c_type, int ldc, int compute, int) {
    char name[40];
    snprintf(name, 40, "GemmEx[compute=%d]", compute);
    return submit(name, Gemm{ta, tb, m, n, k, scalar(alpha, compute), scalar(beta, compute), a, a_type, lda, 0, b,
                             b_type, ldb, 0, c, c_type, ldc, 0, 1, 0});
}
int cublasGemmStridedBatchedEx(void*, int ta, int tb, int m, int n, int k, const void* alpha, const void* a, int a_type,
                               int lda, long long a_stride, const void* b, int b_type, int ldb, long long b_stride,
                               const void* beta, void* c, int c_type, int ldc, long long c_stride, int batch,
                               int compute, int) {
    char name[60];
    snprintf(name, 60, "GemmStridedBatchedEx[compute=%d]", compute);
    return submit(name, Gemm{ta, tb, m, n, k, scalar(alpha, compute), scalar(beta, compute), a, a_type, lda, a_stride, b,
                             b_type, ldb, b_stride, c, c_type, ldc, c_stride, batch, 0});
}

// What CuPy looks up and the project does not use
#define NOT_SUPPORTED(NAME)                                  \
    int NAME() {                                             \
        fprintf(stderr, "hostcuda: " #NAME " not emulated\n"); \
        return 15;                                           \
    }
NOT_SUPPORTED(cublasCaxpy_v2)
NOT_SUPPORTED(cublasCdgmm)
NOT_SUPPORTED(cublasCdotc_v2)
NOT_SUPPORTED(cublasCdotu_v2)
NOT_SUPPORTED(cublasCgeam)
NOT_SUPPORTED(cublasCgemmBatched)
NOT_SUPPORTED(cublasCgemmStridedBatched)
NOT_SUPPORTED(cublasCgemm_v2)
NOT_SUPPORTED(cublasCgemv_v2)
NOT_SUPPORTED(cublasCgerc_v2)
NOT_SUPPORTED(cublasCgeru_v2)
NOT_SUPPORTED(cublasCgetrfBatched)
NOT_SUPPORTED(cublasCgetriBatched)
NOT_SUPPORTED(cublasCgetrsBatched)
NOT_SUPPORTED(cublasCscal_v2)
NOT_SUPPORTED(cublasCsscal_v2)
NOT_SUPPORTED(cublasCsyrk_v2)
NOT_SUPPORTED(cublasCtrsmBatched)
NOT_SUPPORTED(cublasCtrsm_v2)
NOT_SUPPORTED(cublasDasum_v2)
NOT_SUPPORTED(cublasDaxpy_v2)
NOT_SUPPORTED(cublasDdgmm)
NOT_SUPPORTED(cublasDdot_v2)
NOT_SUPPORTED(cublasDgemv_v2)
NOT_SUPPORTED(cublasDger_v2)
NOT_SUPPORTED(cublasDgetrfBatched)
NOT_SUPPORTED(cublasDgetriBatched)
NOT_SUPPORTED(cublasDgetrsBatched)
NOT_SUPPORTED(cublasDnrm2_v2)
NOT_SUPPORTED(cublasDsbmv_v2)
NOT_SUPPORTED(cublasDscal_v2)
NOT_SUPPORTED(cublasDsyrk_v2)
NOT_SUPPORTED(cublasDtpttr)
NOT_SUPPORTED(cublasDtrsmBatched)
NOT_SUPPORTED(cublasDtrsm_v2)
NOT_SUPPORTED(cublasDtrttp)
NOT_SUPPORTED(cublasDzasum_v2)
NOT_SUPPORTED(cublasDznrm2_v2)
NOT_SUPPORTED(cublasIcamax_v2)
NOT_SUPPORTED(cublasIcamin_v2)
NOT_SUPPORTED(cublasIdamax_v2)
NOT_SUPPORTED(cublasIdamin_v2)
NOT_SUPPORTED(cublasIsamax_v2)
NOT_SUPPORTED(cublasIsamin_v2)
NOT_SUPPORTED(cublasIzamax_v2)
NOT_SUPPORTED(cublasIzamin_v2)
NOT_SUPPORTED(cublasSasum_v2)
NOT_SUPPORTED(cublasSaxpy_v2)
NOT_SUPPORTED(cublasScasum_v2)
NOT_SUPPORTED(cublasScnrm2_v2)
NOT_SUPPORTED(cublasSdgmm)
NOT_SUPPORTED(cublasSdot_v2)
NOT_SUPPORTED(cublasSgemv_v2)
NOT_SUPPORTED(cublasSger_v2)
NOT_SUPPORTED(cublasSgetrfBatched)
NOT_SUPPORTED(cublasSgetriBatched)
NOT_SUPPORTED(cublasSgetrsBatched)
NOT_SUPPORTED(cublasSnrm2_v2)
NOT_SUPPORTED(cublasSsbmv_v2)
NOT_SUPPORTED(cublasSscal_v2)
NOT_SUPPORTED(cublasSsyrk_v2)
NOT_SUPPORTED(cublasStpttr)
NOT_SUPPORTED(cublasStrsmBatched)
NOT_SUPPORTED(cublasStrsm_v2)
NOT_SUPPORTED(cublasStrttp)
NOT_SUPPORTED(cublasZaxpy_v2)
NOT_SUPPORTED(cublasZdgmm)
NOT_SUPPORTED(cublasZdotc_v2)
NOT_SUPPORTED(cublasZdotu_v2)
NOT_SUPPORTED(cublasZdscal_v2)
NOT_SUPPORTED(cublasZgeam)
NOT_SUPPORTED(cublasZgemmBatched)
NOT_SUPPORTED(cublasZgemmStridedBatched)
NOT_SUPPORTED(cublasZgemm_v2)
NOT_SUPPORTED(cublasZgemv_v2)
NOT_SUPPORTED(cublasZgerc_v2)
NOT_SUPPORTED(cublasZgeru_v2)
NOT_SUPPORTED(cublasZgetrfBatched)
NOT_SUPPORTED(cublasZgetriBatched)
NOT_SUPPORTED(cublasZgetrsBatched)
NOT_SUPPORTED(cublasZscal_v2)
NOT_SUPPORTED(cublasZsyrk_v2)
NOT_SUPPORTED(cublasZtrsmBatched)
NOT_SUPPORTED(cublasZtrsm_v2)

}  // extern "C"

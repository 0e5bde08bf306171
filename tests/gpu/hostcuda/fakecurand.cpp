// A stand-in for cuRAND on the CPU: the calls that CuPy makes, over a counter-based splitmix64 generator.
//
// The numbers differ from NVIDIA's; distributions, counts and errors agree.
#include <cmath>
#include <cstddef>
#include <cstdint>

struct Gen {
    uint64_t seed, counter;
};

static const int LENGTH_NOT_MULTIPLE = 105;
static const int INTERNAL_ERROR = 999;

static uint64_t bits(Gen* gen) {
    uint64_t z = gen->seed + 0x9E3779B97F4A7C15ull * (++gen->counter);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
    return z ^ (z >> 31);
}

// In (0, 1], as cuRAND's uniform numbers are.
static double uniform(Gen* gen) { return ((bits(gen) >> 11) + 1) * (1.0 / 9007199254740992.0); }

static double normal(Gen* gen) {
    double a = uniform(gen);
    double b = uniform(gen);
    return std::sqrt(-2 * std::log(a)) * std::cos(6.283185307179586 * b);
}

extern "C" {

int curandCreateGenerator(Gen** gen, int) {
    *gen = new Gen{0, 0};
    return 0;
}
int curandDestroyGenerator(Gen* gen) {
    delete gen;
    return 0;
}
int curandGetVersion(int* version) {
    *version = 10405;
    return 0;
}
int curandSetStream(Gen*, void*) { return 0; }
int curandSetPseudoRandomGeneratorSeed(Gen* gen, unsigned long long seed) {
    gen->seed = seed * 0x2545F4914F6CDD1Dull;
    gen->counter = 0;
    return 0;
}
int curandSetGeneratorOffset(Gen* gen, unsigned long long offset) {
    gen->counter = offset;
    return 0;
}
int curandSetGeneratorOrdering(Gen*, int) { return 0; }

int curandGenerate(Gen* gen, unsigned* out, size_t n) {
    for (size_t i = 0; i < n; i++) out[i] = (unsigned)(bits(gen) >> 32);
    return 0;
}
int curandGenerateLongLong(Gen* gen, unsigned long long* out, size_t n) {
    for (size_t i = 0; i < n; i++) out[i] = bits(gen);
    return 0;
}
int curandGenerateUniform(Gen* gen, float* out, size_t n) {
    for (size_t i = 0; i < n; i++) out[i] = (float)uniform(gen);
    return 0;
}
int curandGenerateUniformDouble(Gen* gen, double* out, size_t n) {
    for (size_t i = 0; i < n; i++) out[i] = uniform(gen);
    return 0;
}
// cuRAND makes normal numbers in pairs and refuses an odd count.
int curandGenerateNormal(Gen* gen, float* out, size_t n, float mean, float std) {
    if (n % 2) return LENGTH_NOT_MULTIPLE;
    for (size_t i = 0; i < n; i++) out[i] = (float)(mean + std * normal(gen));
    return 0;
}
int curandGenerateNormalDouble(Gen* gen, double* out, size_t n, double mean, double std) {
    if (n % 2) return LENGTH_NOT_MULTIPLE;
    for (size_t i = 0; i < n; i++) out[i] = mean + std * normal(gen);
    return 0;
}
int curandGenerateLogNormal(Gen* gen, float* out, size_t n, float mean, float std) {
    for (size_t i = 0; i < n; i++) out[i] = (float)std::exp(mean + std * normal(gen));
    return 0;
}
int curandGenerateLogNormalDouble(Gen* gen, double* out, size_t n, double mean, double std) {
    for (size_t i = 0; i < n; i++) out[i] = std::exp(mean + std * normal(gen));
    return 0;
}
int curandGeneratePoisson(Gen*, unsigned*, size_t, double) { return INTERNAL_ERROR; }

}  // extern "C"

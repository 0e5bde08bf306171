// CUDA's runtime and driver on host memory: the C functions through which the real CuPy talks to a GPU.
//
// hostcuda.py writes their addresses into the tables of CuPy's Cython modules before CuPy's core is imported.  The last
// parameter of most functions (SKIP) is Cython's own and is ignored.
#include <Python.h>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <map>
#include <string>
#include <sys/mman.h>
#include <vector>

struct Counters {
    long launches, mallocs, frees, h2d, d2h, d2d, memsets, syncs, streams, events, graph_launches, bytes_live;
};

typedef void (*Launch)(void**, const unsigned*, const unsigned*, unsigned, const int*, int*);

// A kernel: its launcher, and the size of each parameter, so that a graph can keep copies of them.
struct Function {
    Launch launch;
    char name[200];
    int n_params;
    const int* sizes;
};

// One step of a captured graph
enum Kind { KERNEL, COPY, SET, CALL };

struct Node {
    Kind kind;
    Function* function = nullptr;
    unsigned grid[3], block[3], shared;
    std::vector<std::vector<char>> args;
    void* dst;
    const void* src;
    size_t size;
    int value;
    void (*call)(void*) = nullptr;
    std::vector<char> blob;
};

struct Graph {
    std::vector<Node> nodes;
};

static Graph* capturing = nullptr;
static intptr_t capturing_stream = 0;
typedef void (*LogCallback)(const char*);

extern "C" {

Counters hc_counters;
static LogCallback log_callback = nullptr;
static int no_execution = 0;

// Count only: kernels are not run.
void hc_set_noexec(int n) { no_execution = n; }
// Called with the name of every kernel and product.
void hc_set_log(LogCallback callback) { log_callback = callback; }

#define SKIP int /* __pyx_skip_dispatch */

static PyObject* none() {
    Py_INCREF(Py_None);
    return Py_None;
}
static PyObject* fail(const char* message) {
    PyErr_SetString(PyExc_RuntimeError, message);
    return nullptr;
}
static bool allowed_while_capturing(const char* what) {
    if (!capturing) return true;
    PyErr_Format(PyExc_RuntimeError,
                 "hostcuda: %s is not permitted while a stream is capturing (cudaErrorStreamCaptureUnsupported)", what);
    return false;
}

// ---- Devices, streams, events ---------------------------------------------------------------------------------------

PyObject* rt_deviceSynchronize(SKIP) {
    if (!allowed_while_capturing("deviceSynchronize")) return nullptr;
    hc_counters.syncs++;
    return none();
}
PyObject* rt_memGetInfo(SKIP) { return Py_BuildValue("(nn)", (Py_ssize_t)8 << 30, (Py_ssize_t)16 << 30); }
PyObject* rt_setDevice(int device, SKIP) {
    if (device != 0) return fail("cudaErrorInvalidDevice: invalid device ordinal");
    return none();
}
PyObject* rt_getDeviceProperties(int, SKIP) {
    return Py_BuildValue("{s:i,s:y,s:i,s:i,s:i,s:i}", "warpSize", 32, "name", "hostcuda (CPU emulation)", "major", 8,
                         "minor", 0, "maxThreadsPerBlock", 1024, "multiProcessorCount", 1);
}
PyObject* rt_streamSynchronize(intptr_t, SKIP) {
    if (!allowed_while_capturing("streamSynchronize")) return nullptr;
    hc_counters.syncs++;
    return none();
}
PyObject* rt_streamQuery(intptr_t, SKIP) { return PyLong_FromLong(0); }
PyObject* rt_eventQuery(intptr_t, SKIP) { return PyLong_FromLong(0); }
PyObject* rt_ok1(intptr_t, SKIP) { return none(); }
PyObject* rt_eventSynchronize(intptr_t, SKIP) {
    if (!allowed_while_capturing("eventSynchronize")) return nullptr;
    hc_counters.syncs++;
    return none();
}
PyObject* rt_eventRecord(intptr_t, intptr_t, SKIP) {
    hc_counters.events++;
    return none();
}
PyObject* rt_streamWaitEvent(intptr_t, intptr_t, SKIP, void*) { return none(); }
PyObject* rt_ensure_context() { return none(); }
float rt_eventElapsedTime(intptr_t, intptr_t, SKIP) { return 0.f; }
int rt_one(SKIP) { return 1; }
int rt_zero(SKIP) { return 0; }
int rt_driverVersion(SKIP) { return 13020; }
int rt_deviceCanAccessPeer(int, int, SKIP) { return 0; }
int rt_deviceGetAttribute(int attribute, int, SKIP) {
    switch (attribute) {
        case 75: return 8;      // compute capability, major
        case 76: return 0;      // and minor
        case 10: return 32;     // warp size
        case 1: return 1024;    // threads a block
        case 8: return 49152;   // shared memory a block
        case 16: return 1;      // multiprocessors
        case 39: return 2048;   // threads a multiprocessor
        default: return 0;
    }
}
int rt_streamIsCapturing(intptr_t stream, SKIP) { return capturing && stream == capturing_stream ? 1 : 0; }
int rt_streamGetPriority(intptr_t, SKIP) { return 0; }
unsigned rt_streamGetFlags(intptr_t, SKIP) { return 1; }

static intptr_t next_handle = 0x1000;
intptr_t rt_handle(SKIP) {
    hc_counters.streams++;
    return next_handle += 16;
}
intptr_t rt_handle_u(unsigned, SKIP) { return next_handle += 16; }
intptr_t rt_handle_ui(unsigned, int, SKIP) {
    hc_counters.streams++;
    return next_handle += 16;
}

// ---- Memory ---------------------------------------------------------------------------------------------------------

// With the guard on, every array ends at a page that may not be touched: an off-by-one write is a crash on the spot.
static int guard = -1;
static std::map<intptr_t, std::pair<void*, size_t>> guarded;

int hc_set_guard(int g) {
    guard = g;
    return g;
}

static intptr_t guarded_malloc(size_t n) {
    const size_t page = 4096;
    size_t used = (n + 15) / 16 * 16;
    size_t total = (used + page - 1) / page * page + page;
    char* base = (char*)mmap(0, total, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mprotect(base + total - page, page, PROT_NONE);
    char* result = base + total - page - used;
    memset(result, 0xCB, used);
    guarded[(intptr_t)result] = {base, total};
    return (intptr_t)result;
}

intptr_t rt_malloc(size_t n, SKIP) {
    if (capturing) {
        fail("hostcuda: cudaMalloc while capturing (cudaErrorStreamCaptureUnsupported)");
        return 0;
    }
    hc_counters.mallocs++;
    if (guard > 0) return guarded_malloc(n);
    void* p = nullptr;
    if (posix_memalign(&p, 512, n ? n : 512)) return 0;
    memset(p, 0xCB, n);  // memory of a GPU is not zero
    hc_counters.bytes_live += n;
    return (intptr_t)p;
}
intptr_t rt_hostAlloc(size_t n, unsigned, SKIP) {
    void* p = nullptr;
    if (posix_memalign(&p, 512, n ? n : 512)) return 0;
    return (intptr_t)p;
}
PyObject* rt_free(intptr_t p, SKIP) {
    hc_counters.frees++;
    auto found = guarded.find(p);
    if (found != guarded.end()) {
        munmap(found->second.first, found->second.second);
        guarded.erase(found);
        return none();
    }
    free((void*)p);
    return none();
}
PyObject* rt_freeHost(intptr_t p, SKIP) {
    free((void*)p);
    return none();
}

static PyObject* copy(intptr_t dst, intptr_t src, size_t n, int direction, bool async) {
    if (capturing) {
        if (!async) return fail("hostcuda: synchronous memcpy while capturing");
        Node node;
        node.kind = COPY;
        node.dst = (void*)dst;
        node.src = (void*)src;
        node.size = n;
        capturing->nodes.push_back(node);
        return none();
    }
    const int to_device = 1;
    const int to_host = 2;
    if (direction == to_device) {
        hc_counters.h2d++;
    } else if (direction == to_host) {
        hc_counters.d2h++;
    } else {
        hc_counters.d2d++;
    }
    if (!async && direction == to_host) hc_counters.syncs++;
    memcpy((void*)dst, (void*)src, n);
    return none();
}
PyObject* rt_memcpy(intptr_t dst, intptr_t src, size_t n, int direction, SKIP) {
    return copy(dst, src, n, direction, false);
}
PyObject* rt_memcpyAsync(intptr_t dst, intptr_t src, size_t n, int direction, intptr_t, SKIP) {
    return copy(dst, src, n, direction, true);
}
PyObject* rt_memset(intptr_t dst, int value, size_t n, SKIP) {
    hc_counters.memsets++;
    memset((void*)dst, value, n);
    return none();
}
PyObject* rt_memsetAsync(intptr_t dst, int value, size_t n, intptr_t, SKIP) {
    if (capturing) {
        Node node;
        node.kind = SET;
        node.dst = (void*)dst;
        node.value = value;
        node.size = n;
        capturing->nodes.push_back(node);
        return none();
    }
    hc_counters.memsets++;
    memset((void*)dst, value, n);
    return none();
}
int rt_pointerGetMemoryType(intptr_t, SKIP) { return 2; }  // the device's

// ---- Graphs ---------------------------------------------------------------------------------------------------------

PyObject* rt_streamBeginCapture(intptr_t stream, SKIP, void*) {
    if (capturing) return fail("already capturing");
    capturing = new Graph();
    capturing_stream = stream;
    return none();
}
intptr_t rt_streamEndCapture(intptr_t, SKIP) {
    Graph* graph = capturing;
    capturing = nullptr;
    if (!graph) fail("not capturing");
    return (intptr_t)graph;
}
intptr_t rt_graphInstantiate(intptr_t graph, SKIP) { return graph; }
PyObject* rt_graphUpload(intptr_t, intptr_t, SKIP) { return none(); }
PyObject* rt_graphLaunch(intptr_t graph, intptr_t, SKIP) {
    hc_counters.graph_launches++;
    for (auto& node : ((Graph*)graph)->nodes) {
        switch (node.kind) {
            case KERNEL: {
                std::vector<void*> params;
                for (auto& arg : node.args) params.push_back(arg.data());
                node.function->launch(params.data(), node.grid, node.block, node.shared, nullptr, nullptr);
                break;
            }
            case COPY: memcpy(node.dst, node.src, node.size); break;
            case SET: memset(node.dst, node.value, node.size); break;
            case CALL: node.call(node.blob.data()); break;
        }
    }
    return none();
}
int hc_graph_nodes(intptr_t graph) { return (int)((Graph*)graph)->nodes.size(); }

// ---- The driver: modules, kernels -----------------------------------------------------------------------------------

intptr_t dr_ctxGetCurrent(SKIP) { return 1; }

// A 'module' is the text HOSTSO: and the path of a shared library, made by hostcuda.py.
intptr_t dr_moduleLoadData(PyObject* image, SKIP) {
    if (!PyBytes_Check(image)) {
        PyErr_SetString(PyExc_TypeError, "bytes");
        return 0;
    }
    const char* text = PyBytes_AS_STRING(image);
    if (strncmp(text, "HOSTSO:", 7)) {
        fail("hostcuda: not a host module");
        return 0;
    }
    void* library = dlopen(text + 7, RTLD_NOW | RTLD_LOCAL);
    if (!library) fail(dlerror());
    return (intptr_t)library;
}
PyObject* dr_moduleUnload(intptr_t, SKIP) { return none(); }

intptr_t dr_moduleGetFunction(intptr_t module, PyObject* name_object, SKIP) {
    const char* name = PyUnicode_AsUTF8(name_object);
    if (!name) return 0;
    void* symbol = dlsym((void*)module, (std::string(name) + "__hl").c_str());
    if (!symbol) {
        PyErr_Format(PyExc_RuntimeError, "CUDA_ERROR_NOT_FOUND: named symbol not found: %s", name);
        return 0;
    }
    Function* function = new Function();
    function->launch = (Launch)symbol;
    strncpy(function->name, name, 199);
    int answer[256];  // the number of parameters, then their sizes
    function->launch(nullptr, nullptr, nullptr, 0, nullptr, answer);
    int n = answer[0];
    int* sizes = new int[n + 1];
    for (int i = 0; i < n; i++) sizes[i] = answer[1 + i];
    function->n_params = n;
    function->sizes = sizes;
    return (intptr_t)function;
}
intptr_t dr_moduleGetGlobal(intptr_t module, PyObject* name, SKIP) {
    void* symbol = dlsym((void*)module, PyUnicode_AsUTF8(name));
    if (!symbol) fail("CUDA_ERROR_NOT_FOUND");
    return (intptr_t)symbol;
}

PyObject* dr_launchKernel(intptr_t handle, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                          unsigned shared, intptr_t, intptr_t params_address, intptr_t, SKIP) {
    Function* function = (Function*)handle;
    void** params = (void**)params_address;
    unsigned grid[3] = {gx, gy, gz};
    unsigned block[3] = {bx, by, bz};
    if ((size_t)bx * by * bz > 1024) return fail("CUDA_ERROR_INVALID_VALUE: block too large");
    if (shared > 49152) return fail("CUDA_ERROR_INVALID_VALUE: dynamic shared memory > 48 KiB without opt-in");
    if (log_callback) log_callback(function->name);
    if (capturing) {
        Node node;
        node.kind = KERNEL;
        node.function = function;
        memcpy(node.grid, grid, sizeof grid);
        memcpy(node.block, block, sizeof block);
        node.shared = shared;
        for (int i = 0; i < function->n_params; i++) {
            char* value = (char*)params[i];
            node.args.emplace_back(value, value + function->sizes[i]);
        }
        capturing->nodes.push_back(std::move(node));
        return none();
    }
    hc_counters.launches++;
    if (!no_execution) function->launch(params, grid, block, shared, nullptr, nullptr);
    return none();
}
int dr_funcGetAttribute(int, intptr_t, SKIP) { return 0; }
int dr_occBlocks(intptr_t, int, size_t, SKIP) { return 1; }

// The libraries' work (fakecublas.cpp) comes through here, so that it is counted and captured like kernels.
void hc_submit(void (*call)(void*), void* arg, size_t size, const char* name) {
    if (log_callback) log_callback(name);
    if (capturing) {
        Node node;
        node.kind = CALL;
        node.call = call;
        node.blob.assign((char*)arg, (char*)arg + size);
        capturing->nodes.push_back(std::move(node));
        return;
    }
    hc_counters.launches++;
    if (!no_execution) call(arg);
}

}  // extern "C"

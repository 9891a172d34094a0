// Runs the CUDA kernels of gaitstream/kernels/csrc on the host, one block at a time, one fiber per thread.
//
// The device code is the product's own, unchanged: what is replaced is the language around it. Fibers are
// resumed in a shuffled order between barriers, so that a missing barrier shows as a wrong result for some
// seed, and a barrier that not every thread reaches is reported instead of hanging.
#include <dlfcn.h>
#include <ucontext.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#define __device__
#define __host__
#define __global__
#define __grid_constant__
#define __shared__ static
#define __forceinline__ inline
#define __launch_bounds__(...)

struct Index {
  unsigned x = 0, y = 0;
};
struct uint4 {
  unsigned x, y, z, w;
};
static Index threadIdx, blockIdx, blockDim, gridDim;
static unsigned char* dynamic_shared;
#define GAITSTREAM_DYNAMIC_SHARED(name) unsigned char* name = dynamic_shared

using std::max;
using std::min;

namespace emulator {

struct Barrier {
  unsigned waiting = 0, generation = 0;
};

struct Fiber {
  ucontext_t context;
  std::vector<char> stack;
  bool finished = false;
};

std::vector<Fiber> fibers;
ucontext_t scheduler;
unsigned current;
bool failed;
Barrier block;
std::vector<Barrier> warps;
uint32_t exchange[2048];

void yield() {
  const unsigned self = current;
  swapcontext(&fibers[self].context, &scheduler);
}

void wait(Barrier& barrier, unsigned expected) {
  const unsigned generation = barrier.generation;
  if (++barrier.waiting == expected) {
    barrier.waiting = 0;
    ++barrier.generation;
    return;
  }
  while (barrier.generation == generation && !failed) yield();
}

}  // namespace emulator

inline void __syncthreads() { emulator::wait(emulator::block, static_cast<unsigned>(emulator::fibers.size())); }

template <class T>
T __shfl_xor_sync(unsigned, T value, int lanes) {
  static_assert(sizeof(T) == 4, "32-bit values only");
  const unsigned self = threadIdx.x;
  auto& warp = emulator::warps[self / 32];
  std::memcpy(&emulator::exchange[self], &value, 4);
  emulator::wait(warp, 32);
  T other;
  std::memcpy(&other, &emulator::exchange[self ^ static_cast<unsigned>(lanes)], 4);
  emulator::wait(warp, 32);
  return other;
}

inline int __dp4a(int a, int b, int sum) {
  for (int i = 0; i < 32; i += 8) sum += static_cast<int8_t>(a >> i) * static_cast<int8_t>(b >> i);
  return sum;
}
inline unsigned atomicMax(unsigned* at, unsigned value) { const unsigned old = *at; *at = max(old, value); return old; }
inline unsigned atomicMin(unsigned* at, unsigned value) { const unsigned old = *at; *at = min(old, value); return old; }
inline unsigned __float_as_uint(float value) { unsigned bits; std::memcpy(&bits, &value, 4); return bits; }
inline float __uint_as_float(unsigned bits) { float value; std::memcpy(&value, &bits, 4); return value; }
inline float __saturatef(float value) { return value > 0.0f ? (value < 1.0f ? value : 1.0f) : 0.0f; }
template <class T>
T __ldg(const T* at) { return *at; }

#include "kernels.cu"

namespace emulator {

void (*body)();

void enter() {
  body();
  fibers[current].finished = true;
  swapcontext(&fibers[current].context, &scheduler);
}

// False when some threads ended while others wait at a barrier.
bool run_block(unsigned threads, std::mt19937& random) {
  constexpr size_t kStack = 64 * 1024;
  fibers.resize(threads);
  warps.assign((threads + 31) / 32, Barrier{});
  block = Barrier{};
  failed = false;
  std::vector<unsigned> alive(threads);
  for (unsigned i = 0; i < threads; ++i) {
    alive[i] = i;
    Fiber& fiber = fibers[i];
    fiber.finished = false;
    fiber.stack.resize(kStack);
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = fiber.stack.data();
    fiber.context.uc_stack.ss_size = kStack;
    fiber.context.uc_link = nullptr;
    makecontext(&fiber.context, enter, 0);
  }
  bool complete = true;
  while (!alive.empty()) {
    std::shuffle(alive.begin(), alive.end(), random);
    for (const unsigned i : alive) {
      current = threadIdx.x = i;
      swapcontext(&scheduler, &fibers[i].context);
    }
    alive.erase(std::remove_if(alive.begin(), alive.end(), [](unsigned i) { return fibers[i].finished; }), alive.end());
    if (!alive.empty() && alive.size() < threads && block.waiting) {
      complete = false;
      failed = true;  // release the waiting fibers; their results are void
    }
  }
  return complete;
}

template <class Kernel>
int launch(Kernel kernel, unsigned grid_x, unsigned grid_y, unsigned threads, size_t shared_bytes, unsigned seed) {
  static Kernel stored = kernel;
  stored = kernel;
  body = [] { stored(); };
  constexpr size_t kCanary = 256;
  std::vector<unsigned char> memory(shared_bytes + kCanary + 16);
  dynamic_shared = reinterpret_cast<unsigned char*>((reinterpret_cast<uintptr_t>(memory.data()) + 15) / 16 * 16);
  std::mt19937 random(seed);
  blockDim.x = threads;
  gridDim = {grid_x, grid_y};
  for (blockIdx.y = 0; blockIdx.y < grid_y; ++blockIdx.y) {
    for (blockIdx.x = 0; blockIdx.x < grid_x; ++blockIdx.x) {
      std::memset(dynamic_shared, 0xff, shared_bytes + kCanary);  // NaN: uninitialised reads show
      if (!run_block(threads, random)) return 1;
      for (size_t i = 0; i < kCanary; ++i) {
        if (dynamic_shared[shared_bytes + i] != 0xff) return 2;
      }
    }
  }
  return 0;
}

}  // namespace emulator

// The driver calls that gaitstream/kernels/driver.py makes, over host memory. The library calls itself
// libcuda.so.1, so that NVIDIA's own bindings find these calls as they find the driver's.
namespace {

enum Status { kSuccess = 0, kInvalidValue = 1, kNoDevice = 100, kInvalidImage = 200, kNoContext = 201, kNotFound = 500, kLaunchFailed = 719 };

struct Kernel {
  const char* name;
  void (*run)(void** arguments);
};

template <class T>
T argument(void** arguments, int index) {
  return *static_cast<T*>(arguments[index]);
}

template <void (*kernel)(PghaParams)>
void align(void** arguments) {
  kernel(argument<PghaParams>(arguments, 0));
}

template <void (*kernel)(CropParams)>
void crop(void** arguments) {
  kernel(argument<CropParams>(arguments, 0));
}

template <class In, void (*kernel)(const In*, float*, int)>
void peaks(void** arguments) {
  kernel(argument<const In*>(arguments, 0), argument<float*>(arguments, 1), argument<int>(arguments, 2));
}

template <void (*kernel)(PoolParams)>
void pool(void** arguments) {
  kernel(argument<PoolParams>(arguments, 0));
}

template <void (*kernel)(ScanParams)>
void scan_rows(void** arguments) {
  kernel(argument<ScanParams>(arguments, 0));
}

template <class In, void (*kernel)(const In*, const int*, int, unsigned*)>
void range(void** arguments) {
  kernel(argument<const In*>(arguments, 0), argument<const int*>(arguments, 1), argument<int>(arguments, 2),
         argument<unsigned*>(arguments, 3));
}

const Kernel kKernels[] = {
    {"pgha_f32_fixed", align<pgha_f32_fixed>},     {"pgha_f32_affine", align<pgha_f32_affine>},
    {"pgha_f32_general", align<pgha_f32_general>}, {"pgha_f16_fixed", align<pgha_f16_fixed>},
    {"pgha_f16_affine", align<pgha_f16_affine>},   {"pgha_f16_general", align<pgha_f16_general>},
    {"crop_u8", crop<crop_u8>},                    {"crop_f16", crop<crop_f16>},
    {"peaks_f32", peaks<float, peaks_f32>},        {"peaks_f16", peaks<half_bits, peaks_f16>},
    {"pool_f32", pool<pool_f32>},                  {"pool_f16", pool<pool_f16>},
    {"scan_4", scan_rows<scan_4>},                 {"scan_16", scan_rows<scan_16>},
    {"pgha_range_f32", range<float, pgha_range_f32>}, {"pgha_range_f16", range<half_bits, pgha_range_f16>},
};

unsigned seed = 1, allowed_shared = 48 * 1024;
bool present = false, has_context = true;
int major_version = 9;
unsigned launches = 0;
uint64_t recorded_on = 0, waited_on = 0;

}  // namespace

extern "C" {

// For tests: what the pretended machine is like.
void emulator_setup(unsigned new_seed, int context, int major) {
  present = true;
  seed = new_seed;
  has_context = context;
  major_version = major;
  allowed_shared = 48 * 1024;
  launches = 0;
  recorded_on = waited_on = 0;
}
int emulator_recorded_on() { return static_cast<int>(recorded_on); }
int emulator_waited_on() { return static_cast<int>(waited_on); }
// Away again: whoever looks for a GPU outside the tests of the kernels must find none.
void emulator_remove() { present = false; }
unsigned emulator_launches() { return launches; }
int emulator_pgha_bytes() { return static_cast<int>(sizeof(PghaParams)); }
int emulator_pool_bytes() { return static_cast<int>(sizeof(PoolParams)); }
int emulator_scan_bytes() { return static_cast<int>(sizeof(ScanParams)); }
int emulator_crop_bytes() { return static_cast<int>(sizeof(CropParams)); }

int cuInit(unsigned) { return present ? kSuccess : kNoDevice; }
int cuDriverGetVersion(int* version) { *version = 13000; return kSuccess; }
int cuDeviceGetCount(int* count) { *count = present; return present ? kSuccess : kNoDevice; }
int cuDeviceGet(int* device, int) { *device = 0; return present ? kSuccess : kNoDevice; }
int cuGetProcAddress_v2(const char* name, void** function, int, uint64_t, int* status) {
  *function = dlsym(RTLD_DEFAULT, name);
  if (!*function) *function = dlsym(RTLD_DEFAULT, (std::string(name) + "_v2").c_str());
  if (status) *status = *function ? 0 : 1;
  return *function ? kSuccess : kNotFound;
}
int cuCtxGetDevice(int* device) { *device = 0; return has_context ? kSuccess : kNoContext; }
int cuCtxGetCurrent(void** context) { *context = has_context ? &seed : nullptr; return kSuccess; }
int cuDeviceGetAttribute(int* value, int attribute, int) {
  *value = attribute == 75 ? major_version : attribute == 76 ? 0 : attribute == 97 ? 64 * 1024 : -1;
  return *value < 0 ? kInvalidValue : kSuccess;
}
int cuModuleLoadData(void** module, const void* image) {
  *module = &seed;
  return image && std::strncmp(static_cast<const char*>(image), "refused", 7) ? kSuccess : kInvalidImage;
}
int cuModuleGetFunction(void** function, void*, const char* name) {
  for (const Kernel& kernel : kKernels) {
    if (!std::strcmp(kernel.name, name)) {
      *function = const_cast<Kernel*>(&kernel);
      return kSuccess;
    }
  }
  return kNotFound;
}
int cuFuncSetAttribute(void*, int attribute, int value) {
  if (attribute == 8) allowed_shared = max(allowed_shared, static_cast<unsigned>(value));
  return kSuccess;
}
int cuMemsetD8Async(uint64_t at, unsigned char value, size_t count, void*) {
  std::memset(reinterpret_cast<void*>(at), value, count);
  return kSuccess;
}
int cuPointerGetAttribute(void* value, int, uint64_t) { *static_cast<int*>(value) = 2; return kSuccess; }
int cuPointerGetAttributes(unsigned count, int* attributes, void** values, uint64_t pointer) {
  for (unsigned i = 0; i < count; ++i) {
    if (attributes[i] == 3) *static_cast<uint64_t*>(values[i]) = pointer;  // device pointer
    else *static_cast<int*>(values[i]) = attributes[i] == 2 ? 2 : 0;       // memory type: device; ordinal 0
  }
  return kSuccess;
}
int cuEventCreate(void** event, unsigned) { *event = &seed; return kSuccess; }
int cuEventDestroy_v2(void*) { return kSuccess; }
int cuEventRecord(void*, void* stream) { recorded_on = reinterpret_cast<uint64_t>(stream); return kSuccess; }
int cuStreamWaitEvent(void* stream, void*, unsigned) { waited_on = reinterpret_cast<uint64_t>(stream); return kSuccess; }
int cuGetErrorName(int, const char** text) { *text = "emulated"; return kSuccess; }
int cuGetErrorString(int code, const char** text) {
  *text = code == kLaunchFailed ? "a barrier was missed or shared memory overrun" : "emulated failure";
  return kSuccess;
}

int cuLaunchKernel(void* function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x, unsigned block_y,
                   unsigned block_z, unsigned shared_bytes, void*, void** parameters, void**) {
  if (grid_z != 1 || block_y != 1 || block_z != 1 || !grid_x || !grid_y || shared_bytes > allowed_shared) {
    return kInvalidValue;
  }
  static const Kernel* kernel;
  static void** arguments;
  kernel = static_cast<const Kernel*>(function);
  arguments = parameters;
  ++launches;
  struct Call {
    void operator()() const { kernel->run(arguments); }
  };
  return emulator::launch(Call{}, grid_x, grid_y, block_x, shared_bytes, seed++) ? kLaunchFailed : kSuccess;
}

}  // extern "C"

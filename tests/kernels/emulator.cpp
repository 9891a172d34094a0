// Runs the CUDA kernels of gaitstream/kernels/csrc on the host, one block at a time, one fiber per thread.
//
// The device code is the product's own, unchanged: what is replaced is the language around it. Fibers are
// resumed in a shuffled order between barriers, so that a missing barrier shows as a wrong result for some
// seed, and a barrier that not every thread reaches is reported instead of hanging.
#include <ucontext.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <random>
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
static Index threadIdx, blockIdx, blockDim;
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

// 0: ran; 1: a barrier was not reached by all threads; 2: shared memory was overrun; 3: no such kernel.
extern "C" int emulate_pgha(const char* name, const PghaParams* params, unsigned frames, unsigned shared_bytes,
                            unsigned seed) {
  void (*kernel)(PghaParams) = nullptr;
  for (const auto& [known, function] : {std::pair<const char*, void (*)(PghaParams)>{"pgha_f32_fixed", pgha_f32_fixed},
                                        {"pgha_f32_affine", pgha_f32_affine},
                                        {"pgha_f32_general", pgha_f32_general},
                                        {"pgha_f16_fixed", pgha_f16_fixed},
                                        {"pgha_f16_affine", pgha_f16_affine},
                                        {"pgha_f16_general", pgha_f16_general}}) {
    if (!std::strcmp(name, known)) kernel = function;
  }
  if (!kernel) return 3;
  static PghaParams job;
  static void (*chosen)(PghaParams);
  job = *params;
  chosen = kernel;
  struct Call {
    void operator()() const { chosen(job); }
  };
  return emulator::launch(Call{}, frames, 1, kThreads, shared_bytes, seed);
}

extern "C" int emulate_range(const void* heatmaps, int is_half, const int* segments, int channels, unsigned* ranges,
                             unsigned frames, unsigned seed) {
  static const void* maps;
  static const int* ids;
  static int count, half;
  static unsigned* out;
  maps = heatmaps, ids = segments, count = channels, half = is_half, out = ranges;
  struct Call {
    void operator()() const {
      if (half) {
        pgha_range_f16(static_cast<const half_bits*>(maps), ids, count, out);
      } else {
        pgha_range_f32(static_cast<const float*>(maps), ids, count, out);
      }
    }
  };
  return emulator::launch(Call{}, frames, 1, 256, 0, seed);
}

extern "C" int emulate_crop(const CropParams* params, int half, unsigned n, unsigned seed) {
  static CropParams job;
  static int as_half;
  job = *params;
  as_half = half;
  struct Call {
    void operator()() const {
      if (as_half) {
        crop_f16(job);
      } else {
        crop_u8(job);
      }
    }
  };
  return emulator::launch(Call{}, static_cast<unsigned>((job.height * job.width + 255) / 256), n, 256, 0, seed);
}

extern "C" int emulate_params_bytes() { return static_cast<int>(sizeof(PghaParams)); }
extern "C" int emulate_crop_params_bytes() { return static_cast<int>(sizeof(CropParams)); }

// Joints of heatmaps and pooling over time on the CPU, from the mathematics of peaks_math.cuh and pool.cuh.
#include <cstdint>
#include <cstring>

#include "peaks_math.cuh"
#include "pool.cuh"

using namespace gaitstream;

namespace {

// Finite floats as integers of the same order, so that the compiler may take the maximum in vectors; -0 is 0.
int32_t ordered(float value) {
  value += 0.0f;
  int32_t bits;
  std::memcpy(&bits, &value, 4);
  const int32_t order = bits ^ ((bits >> 31) & 0x7fffffff);
  return (bits & 0x7f800000) == 0x7f800000 ? INT32_MIN : order;
}

// The largest of each row, in two loops, because a compiler makes vectors of each and not of both in one; then
// where the largest of all stands in the first row that has it.
int first_largest(const float* map) {
  int32_t best = INT32_MIN;
  int row = 0;
  for (int y = 0; y < kHeight; ++y) {
    int32_t orders[kWidth];
    for (int x = 0; x < kWidth; ++x) orders[x] = ordered(map[y * kWidth + x]);
    int32_t most = INT32_MIN;
    for (int x = 0; x < kWidth; ++x) most = orders[x] > most ? orders[x] : most;
    if (most > best) {
      best = most;
      row = y;
    }
  }
  if (best == INT32_MIN) return kPixels;
  for (int i = row * kWidth;; ++i) {
    if (ordered(map[i]) == best) return i;
  }
}

const float* as_floats(const float* map, float*) { return map; }

const float* as_floats(const half_bits* map, float* values) {
  for (int i = 0; i < kPixels; ++i) values[i] = as_float(map[i]);
  return values;
}

template <class In>
void find_peaks(const In* maps, int64_t count, float* joints) {
  float values[kPixels];
  for (int64_t n = 0; n < count; ++n) {
    const float* map = as_floats(maps + n * kPixels, values);
    const Joint joint = refine_peak(map, first_largest(map));
    joints[3 * n] = joint.x;
    joints[3 * n + 1] = joint.y;
    joints[3 * n + 2] = joint.score;
  }
}

template <class In>
void pool_rows(const PoolParams& job) {
  for (int entry = 0; entry < job.count; ++entry) {
    const In* row = static_cast<const In*>(job.rows[entry]);
    float* slot = job.slots[entry];
    for (int64_t i = 0; i < job.size; ++i) {
      const float value = as_float(row[i]);
      slot[i] = job.fresh[entry] ? value : larger_or_nan(slot[i], value);
    }
  }
}

}  // namespace

// maps [count, 64, 48] float32 or float16; joints [count, 3] x, y, score.
extern "C" void gaitstream_peaks(const void* maps, int32_t half, int64_t count, float* joints) {
  if (half) {
    find_peaks(static_cast<const half_bits*>(maps), count, joints);
  } else {
    find_peaks(static_cast<const float*>(maps), count, joints);
  }
}

extern "C" void gaitstream_pool(const PoolParams* job) {
  if (job->half_rows) {
    pool_rows<half_bits>(*job);
  } else {
    pool_rows<float>(*job);
  }
}

extern "C" int gaitstream_pool_params_bytes() { return static_cast<int>(sizeof(PoolParams)); }

// Joints of heatmaps: one warp per map, each value read once from device memory, four neighbours again.
#include "peaks_math.cuh"
#include "pgha.cuh"

namespace {

template <class In>
__device__ __forceinline__ void find_peaks(const In* heatmaps, float* joints, int count) {
  const int map_index = static_cast<int>(blockIdx.x) * (kPeakThreads / 32) + static_cast<int>(threadIdx.x) / 32;
  if (map_index >= count) return;  // whole warps: nobody is left waiting in the shuffles
  const In* map = heatmaps + static_cast<long long>(map_index) * kPixels;
  constexpr int kPerLoad = 16 / sizeof(In);
  Peak peak{-kLargest, kPixels};
  for (int i = threadIdx.x % 32; i < kPixels / kPerLoad; i += 32) {
    float few[kPerLoad];
    unpack(__ldg(reinterpret_cast<const uint4*>(map) + i), few);
#pragma unroll
    for (int k = 0; k < kPerLoad; ++k) {
      if (is_finite(few[k])) peak = better(peak, Peak{few[k], i * kPerLoad + k});
    }
  }
  peak = warp_peak(peak);
  if (threadIdx.x % 32) return;
  const Joint joint = refine_peak(map, peak.index);
  float* row = joints + 3ll * map_index;
  row[0] = joint.x;
  row[1] = joint.y;
  row[2] = joint.score;
}

}  // namespace

// heatmaps [count, 64, 48], 16-byte aligned; joints [count, 3]: x, y, score.
extern "C" __global__ void peaks_f32(const float* heatmaps, float* joints, int count) {
  find_peaks(heatmaps, joints, count);
}

extern "C" __global__ void peaks_f16(const half_bits* heatmaps, float* joints, int count) {
  find_peaks(heatmaps, joints, count);
}

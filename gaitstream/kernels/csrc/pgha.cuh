// Pose-guided heatmap alignment on the GPU: what one launch takes. Shared by kernels, plugin and NVRTC.
#ifndef GAITSTREAM_PGHA_CUH
#define GAITSTREAM_PGHA_CUH

#include "pgha_math.cuh"

// A build that runs these kernels on the host, for tests, brings its own.
#ifndef GAITSTREAM_DYNAMIC_SHARED
#define GAITSTREAM_DYNAMIC_SHARED(name) extern __shared__ __align__(16) unsigned char name[]
#endif

namespace gaitstream {

constexpr int kThreads = 384;                     // a thread owns one column of one strip of rows
constexpr int kStrips = kThreads / kWidth;        // 8
constexpr int kRows = kHeight / kStrips;          // 8 rows a strip
constexpr int kStages = 4;                        // input maps in flight; also holds the four spine maps
constexpr int kPad = 64;                          // a tap at the border may read one row and one pixel beyond
constexpr int kFewGroups = 2;                     // part groups of the fast kernels
constexpr int kPeakThreads = 256;                 // of the joints' kernel: eight warps, a map each
constexpr int kLaunchGroups = 4;                  // of the general ones; more groups take another launch

// All pointers are device pointers, 16-byte aligned. The Python launcher mirrors this layout.
struct PghaParams {
  const void* heatmaps;           // [n, channels, 64, 48], float32 or float16
  const float* keypoints;         // [n, 17, 3] or null
  const int* segments;            // [n] or null
  const unsigned* ranges;         // [tracklets, 2] of pgha_range, kTracklet only
  void* parts;                    // [n, total_parts, 64, 48], float32 or float16
  float* angle_deg;               // [n]
  void* aligned;                  // [n], bytes or float32 (`float_aligned`)
  float* neck;                    // [n, 2]
  float* hip;                     // [n, 2]
  float* score;                   // [n]
  unsigned long long groups[kLaunchGroups];
  double gamma_deg, target_x, target_y;
  int n, channels, group_count, total_parts, first_part;
  int normalization, sampling, align_small, half_parts, float_aligned;
  int joints[kSpineJoints];
  unsigned char order[kMaxChannels];  // channels in the order of reading; the spine first without keypoints
};

// Dynamic shared memory of a kernel whose input values have `bytes` bytes.
GS_FN constexpr int pgha_shared_bytes(int bytes) {
  return kStages * (kPixels + kPad) * bytes + (kPixels + kPad) * 4;
}

}  // namespace gaitstream

#endif

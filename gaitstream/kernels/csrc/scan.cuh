// The gallery's coarse scan: what one launch takes, and the distance of a part, once for the GPU and the CPU.
// Layout and bounds: gaitstream/gallery/quantise.py.
#ifndef GAITSTREAM_SCAN_CUH
#define GAITSTREAM_SCAN_CUH

#include "pgha_math.cuh"

namespace gaitstream {

constexpr int kScanBlocks = 256;
constexpr int kScanBlockRows = 1 << 14;  // rows that lie in one piece of memory
constexpr int kScanThreads = 128;
constexpr int kScanLanes = 4;            // threads that share a row
constexpr int kScanRows = 4;             // rows of a thread: each digit of a probe is read once for all of them
constexpr int kScanGroups = kScanThreads / kScanLanes;
constexpr int kScanRowsAtOnce = kScanGroups * kScanRows;

// All pointers are device pointers, 16-byte aligned. The Python launcher mirrors this layout.
struct ScanParams {
  const unsigned char* blocks[kScanBlocks];  // records of the coarse plane, kScanBlockRows in each
  const signed char* high;                   // [probes, parts, width]
  const signed char* low;                    // [probes, parts, width]
  const float* scale;                        // [probes, parts]
  const float* norm;                         // [probes, parts]
  float* out;                                // [probes, rows]: distance less the row's slack
  int stride, scale_at, norm_at, slack_at;   // bytes of a record, and offsets inside it
  int rows, parts, width, probes;            // width: values of a part, a multiple of 64
};

// |v - c| of a part from |v|^2, |c|^2, both scales and the product of the whole numbers.
GS_FN float part_distance(float norm, float square, float scale, float theirs, int product) {
  const float d = norm + square - 512.0f * scale * theirs * static_cast<float>(product);
  return sqrtf(d > 0.0f ? d : 0.0f);
}

}  // namespace gaitstream

#endif

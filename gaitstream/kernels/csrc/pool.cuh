// Pooling over time: what one launch takes. Shared by the kernel and the CPU build.
#ifndef GAITSTREAM_POOL_CUH
#define GAITSTREAM_POOL_CUH

#include "pgha_math.cuh"

namespace gaitstream {

constexpr int kPoolEntries = 64;

// Row i goes into slot i: copied when it is the slot's first, else the larger of both. No slot occurs twice.
struct PoolParams {
  const void* rows[kPoolEntries];
  float* slots[kPoolEntries];
  long long size;                      // values of a row
  int count, half_rows;
  unsigned char fresh[kPoolEntries];
};

// As numpy's maximum: what is not a number stays one.
GS_FN float larger_or_nan(float a, float b) {
  if (a != a) return a;
  return b > a || b != b ? b : a;
}

}  // namespace gaitstream

#endif

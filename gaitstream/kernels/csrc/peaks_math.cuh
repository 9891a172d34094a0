// Where a joint lies in its heatmap: the mathematics, once, for the GPU and the CPU.
#ifndef GAITSTREAM_PEAKS_MATH_CUH
#define GAITSTREAM_PEAKS_MATH_CUH

#include "pgha_math.cuh"

namespace gaitstream {

// A quarter pixel towards the higher neighbour; a neighbour that is not a number moves nothing.
GS_FN float quarter(float lower, float upper) {
  const float slope = upper - lower;
  return slope > 0.0f ? 0.25f : slope < 0.0f ? -0.25f : 0.0f;
}

// The joint of a map whose first largest finite value lies at `index`; kPixels says that there is none.
template <class In>
GS_FN Joint refine_peak(const In* map, int index) {
  if (index == kPixels) return Joint{0.0f, 0.0f, 0.0f};
  const int x = index % kWidth, y = index / kWidth;
  Joint joint{static_cast<float>(x), static_cast<float>(y), as_float(map[index])};
  // A peak on the border has one neighbour only: it stays.
  if (x > 0 && x < kWidth - 1) joint.x += quarter(as_float(map[index - 1]), as_float(map[index + 1]));
  if (y > 0 && y < kHeight - 1) joint.y += quarter(as_float(map[index - kWidth]), as_float(map[index + kWidth]));
  return joint;
}

}  // namespace gaitstream

#endif

#include "pgha_launch.h"

#include <algorithm>
#include <utility>

#include "pgha.cu"

namespace gaitstream {
namespace {

typedef void (*Kernel)(const PghaParams);

Kernel choose(bool half, bool fixed, bool fast) {
  if (!fast) return half ? pgha_f16_general : pgha_f32_general;
  if (fixed) return half ? pgha_f16_fixed : pgha_f32_fixed;
  return half ? pgha_f16_affine : pgha_f32_affine;
}

// The order in which a block reads the channels: without keypoints it needs the spine's first.
void fill_order(PghaParams& params) {
  int next = 0;
  const int* const joints = params.joints;
  if (!params.keypoints) {
    for (const int joint : params.joints) params.order[next++] = static_cast<unsigned char>(joint);
  }
  for (int channel = 0; channel < params.channels; ++channel) {
    const bool read = !params.keypoints && std::find(joints, joints + kSpineJoints, channel) != joints + kSpineJoints;
    if (!read) params.order[next++] = static_cast<unsigned char>(channel);
  }
}

}  // namespace

cudaError_t launch_pgha(PghaParams params, const std::vector<uint64_t>& masks, bool half_input, cudaStream_t stream) {
  if (params.n == 0) return cudaSuccess;
  fill_order(params);
  const int groups = static_cast<int>(masks.size());
  const bool fast = groups <= kFewGroups && params.sampling == kTwo;
  const Kernel kernel = choose(half_input, params.normalization == kFixed, fast);
  const int shared_bytes = pgha_shared_bytes(half_input ? 2 : 4);
  const cudaError_t allowed = cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel),
                                                   cudaFuncAttributeMaxDynamicSharedMemorySize, shared_bytes);
  if (allowed != cudaSuccess) return allowed;
  for (int start = 0; start < groups; start += kLaunchGroups) {
    params.group_count = std::min(kLaunchGroups, groups - start);
    params.first_part = 1 + start;
    std::copy_n(masks.begin() + start, params.group_count, params.groups);
    kernel<<<params.n, kThreads, shared_bytes, stream>>>(params);
  }
  return cudaGetLastError();
}

}  // namespace gaitstream

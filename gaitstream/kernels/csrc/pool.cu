// Running maxima in device memory: a row of features into its track's slot.
#include "pool.cuh"

namespace {

template <class In>
__device__ __forceinline__ void pool_rows(const PoolParams& job) {
  const int entry = blockIdx.y;
  const In* row = static_cast<const In*>(job.rows[entry]);
  float* slot = job.slots[entry];
  const long long stride = static_cast<long long>(gridDim.x) * blockDim.x;
  for (long long i = static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x; i < job.size; i += stride) {
    const float value = as_float(row[i]);
    slot[i] = job.fresh[entry] ? value : larger_or_nan(slot[i], value);
  }
}

}  // namespace

extern "C" __global__ void pool_f32(const __grid_constant__ PoolParams job) { pool_rows<float>(job); }

extern "C" __global__ void pool_f16(const __grid_constant__ PoolParams job) { pool_rows<half_bits>(job); }

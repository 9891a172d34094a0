// The gallery's coarse scan: lower bounds of the distances of up to K probes to all templates, each row read once.
//
// Four threads share a row and have four rows each; the probes' digits of a part lie in shared memory.
#include "scan.cuh"
#include "pgha.cuh"

using namespace gaitstream;

namespace {

// Without the offset of 128: four bytes of a row as whole numbers in [-128, 127].
__device__ __forceinline__ uint4 digits_at(const unsigned char* at) {
  uint4 four = __ldg(reinterpret_cast<const uint4*>(at));
  four.x ^= 0x80808080u;
  four.y ^= 0x80808080u;
  four.z ^= 0x80808080u;
  four.w ^= 0x80808080u;
  return four;
}

__device__ __forceinline__ int product_of(const uint4& row, const uint4& probe) {
  int sum = __dp4a(static_cast<int>(row.x), static_cast<int>(probe.x), 0);
  sum = __dp4a(static_cast<int>(row.y), static_cast<int>(probe.y), sum);
  sum = __dp4a(static_cast<int>(row.z), static_cast<int>(probe.z), sum);
  return __dp4a(static_cast<int>(row.w), static_cast<int>(probe.w), sum);
}

// Digits of one part of all probes into shared memory: [2, K, width], zeros for probes that are none.
template <int K>
__device__ __forceinline__ void stage_part(const ScanParams& job, int part, uint4* staged) {
  const int chunks = job.width / 16;
  for (int i = threadIdx.x; i < 2 * K * chunks; i += kScanThreads) {
    const int plane = i / (K * chunks), probe = i / chunks % K, chunk = i % chunks;
    const signed char* from = plane ? job.low : job.high;
    const long long at = (static_cast<long long>(probe) * job.parts + part) * job.width + 16 * chunk;
    staged[i] = probe < job.probes ? *reinterpret_cast<const uint4*>(from + at) : uint4{0u, 0u, 0u, 0u};
  }
}

// Each of the four lanes has part of K sums; afterwards each has K / 4 whole ones, of the probes from `first` on.
template <int K>
__device__ __forceinline__ int share_sums(int (&sums)[K], int lane) {
  const bool second = lane & 1, fourth = lane & 2;
#pragma unroll
  for (int k = 0; k < K / 2; ++k) {
    const int other = __shfl_xor_sync(0xffffffffu, second ? sums[k] : sums[k + K / 2], 1);
    sums[k] = (second ? sums[k + K / 2] : sums[k]) + other;
  }
#pragma unroll
  for (int k = 0; k < K / 4; ++k) {
    const int other = __shfl_xor_sync(0xffffffffu, fourth ? sums[k] : sums[k + K / 4], 2);
    sums[k] = (fourth ? sums[k + K / 4] : sums[k]) + other;
  }
  return (second ? K / 2 : 0) + (fourth ? K / 4 : 0);
}

template <int K>
__device__ __forceinline__ void scan(const ScanParams& job) {
  GAITSTREAM_DYNAMIC_SHARED(shared);
  uint4* staged = reinterpret_cast<uint4*>(shared);
  const int lane = threadIdx.x % kScanLanes, chunks = job.width / 16;
  const int start = static_cast<int>(blockIdx.x) * kScanRowsAtOnce;
  const int first_row = start + static_cast<int>(threadIdx.x) / kScanLanes;
  const unsigned char* block = job.blocks[start / kScanBlockRows];
  const unsigned char* rows[kScanRows];
#pragma unroll
  for (int r = 0; r < kScanRows; ++r) {  // beyond the end the last row is read again, and nothing is written
    const int row = min(first_row + r * kScanGroups, job.rows - 1) % kScanBlockRows;
    rows[r] = block + static_cast<long long>(row) * job.stride;
  }
  float far[kScanRows][K / 4] = {};
  int first_probe = 0;
  for (int part = 0; part < job.parts; ++part) {
    __syncthreads();  // everybody is done with the part before
    stage_part<K>(job, part, staged);
    __syncthreads();
    int sums[kScanRows][K] = {};
    for (int chunk = lane; chunk < chunks; chunk += kScanLanes) {
      uint4 few[kScanRows];
#pragma unroll
      for (int r = 0; r < kScanRows; ++r) few[r] = digits_at(rows[r] + part * job.width + 16 * chunk);
#pragma unroll
      for (int k = 0; k < K; ++k) {
        const uint4 high = staged[k * chunks + chunk], low = staged[(K + k) * chunks + chunk];
#pragma unroll
        for (int r = 0; r < kScanRows; ++r) {  // wraps, the whole sum does not: it is below 2^31
          const unsigned upper = static_cast<unsigned>(product_of(few[r], high)) << 8;
          sums[r][k] = static_cast<int>(static_cast<unsigned>(sums[r][k]) + upper +
                                        static_cast<unsigned>(product_of(few[r], low)));
        }
      }
    }
#pragma unroll
    for (int r = 0; r < kScanRows; ++r) {
      first_probe = share_sums<K>(sums[r], lane);
      const float theirs = reinterpret_cast<const float*>(rows[r] + job.scale_at)[part];
      const float square = reinterpret_cast<const float*>(rows[r] + job.norm_at)[part];
#pragma unroll
      for (int k = 0; k < K / 4; ++k) {
        const int at = min(first_probe + k, job.probes - 1) * job.parts + part;
        far[r][k] += part_distance(job.norm[at], square, job.scale[at], theirs, sums[r][k]);
      }
    }
  }
#pragma unroll
  for (int r = 0; r < kScanRows; ++r) {
    const int row = first_row + r * kScanGroups;
    const float slack = *reinterpret_cast<const float*>(rows[r] + job.slack_at);
#pragma unroll
    for (int k = 0; k < K / 4; ++k) {
      const int probe = first_probe + k;
      if (row < job.rows && probe < job.probes) {
        job.out[static_cast<long long>(probe) * job.rows + row] = far[r][k] / static_cast<float>(job.parts) - slack;
      }
    }
  }
}

}  // namespace

extern "C" __global__ void __launch_bounds__(kScanThreads, 3) scan_4(const __grid_constant__ ScanParams job) {
  scan<4>(job);
}

extern "C" __global__ void __launch_bounds__(kScanThreads, 3) scan_16(const __grid_constant__ ScanParams job) {
  scan<16>(job);
}

// Pose-guided heatmap alignment in one launch: one block per frame, each input byte read once.
//
// Four maps are in flight at any time (cp.async into a ring); a map is rotated from its ring slot into a
// second buffer, translated from there, and merged into maxima that live in registers. Without keypoints the
// four spine maps are the first in the ring: the block finds the joints in them and then goes on with the
// very same bytes. Only thread 0 works in double precision, once per frame, while loads are under way.
#include "pgha.cuh"

using namespace gaitstream;

namespace {

// Floats as unsigned integers of the same order, for atomics.
__device__ __forceinline__ unsigned ordered(float value) {
  const unsigned bits = __float_as_uint(value);
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

__device__ __forceinline__ float from_ordered(unsigned value) {
  return __uint_as_float(value & 0x80000000u ? value & 0x7fffffffu : ~value);
}

__device__ __forceinline__ void copy16(void* to, const void* from) {
#if __CUDA_ARCH__ >= 800
  const unsigned address = static_cast<unsigned>(__cvta_generic_to_shared(to));
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(address), "l"(from) : "memory");
#else
  *static_cast<uint4*>(to) = __ldg(static_cast<const uint4*>(from));
#endif
}

__device__ __forceinline__ void commit_copies() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

template <int kPending>
__device__ __forceinline__ void wait_copies() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
#endif
}

template <class In>
__device__ __forceinline__ void fetch_map(In* slot, const In* map) {
  constexpr int kPerCopy = 16 / sizeof(In);
  for (int i = threadIdx.x; i < kPixels / kPerCopy; i += kThreads) copy16(slot + i * kPerCopy, map + i * kPerCopy);
}

// Values of one 16-byte load.
__device__ __forceinline__ void unpack(const uint4& words, float (&values)[4]) {
  const unsigned word[4] = {words.x, words.y, words.z, words.w};
#pragma unroll
  for (int i = 0; i < 4; ++i) values[i] = __uint_as_float(word[i]);
}

__device__ __forceinline__ void unpack(const uint4& words, float (&values)[8]) {
  const unsigned word[4] = {words.x, words.y, words.z, words.w};
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    values[2 * i] = half_to_float(static_cast<half_bits>(word[i]));
    values[2 * i + 1] = half_to_float(static_cast<half_bits>(word[i] >> 16));
  }
}

// Largest finite value and the first place where it lies, over the lanes of a warp.
struct Peak {
  float value;
  int index;
};

__device__ __forceinline__ Peak better(Peak a, Peak b) {
  return b.value > a.value || (b.value == a.value && b.index < a.index) ? b : a;
}

__device__ __forceinline__ Peak warp_peak(Peak peak) {
  for (int step = 16; step; step >>= 1) {
    const Peak other{__shfl_xor_sync(0xffffffffu, peak.value, step), __shfl_xor_sync(0xffffffffu, peak.index, step)};
    peak = better(peak, other);
  }
  return peak;
}

struct Shared {
  Peak peaks[kSpineJoints][kThreads / 32 / kSpineJoints];
  unsigned best[kMaxChannels];  // ordered() of each map's peak, by place in the order
  Plan plan;
  float low, scale;               // of the frame's tracklet, kTracklet only
};

// Three warps search each spine map.
template <class In>
__device__ void find_spine(const In* ring, Shared& shared) {
  constexpr int kShares = kThreads / 32 / kSpineJoints;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, map = warp % kSpineJoints, share = warp / kSpineJoints;
  const In* values = ring + map * (kPixels + kPad);
  Peak peak{-kLargest, kPixels};
  for (int i = share * (kPixels / kShares) + lane; i < (share + 1) * (kPixels / kShares); i += 32) {
    const float value = as_float(values[i]);
    if (is_finite(value)) peak = better(peak, Peak{value, i});
  }
  peak = warp_peak(peak);
  if (lane == 0) shared.peaks[map][share] = peak;
}

__device__ __forceinline__ Joint found_joint(const Shared& shared, int map) {
  Peak peak = shared.peaks[map][0];
  for (int share = 1; share < kThreads / 32 / kSpineJoints; ++share) peak = better(peak, shared.peaks[map][share]);
  if (peak.index == kPixels) return Joint{0.0f, 0.0f, 0.0f};
  return Joint{static_cast<float>(peak.index % kWidth), static_cast<float>(peak.index / kWidth), peak.value};
}

__device__ void plan_frame(const PghaParams& job, int frame, Shared& shared) {
  Joint joint[kSpineJoints];
  for (int i = 0; i < kSpineJoints; ++i) {
    if (job.keypoints) {
      const float* row = job.keypoints + (static_cast<long long>(frame) * 17 + job.joints[i]) * 3;
      joint[i] = Joint{row[0], row[1], row[2]};
    } else {
      joint[i] = found_joint(shared, i);
      shared.best[i] = ordered(joint[i].score);
    }
  }
  const Policy policy{job.gamma_deg, job.target_x, job.target_y, job.align_small};
  shared.plan = make_plan(joint[0], joint[1], joint[2], joint[3], policy);
  const Plan& plan = shared.plan;
  job.angle_deg[frame] = plan.angle_deg;
  if (job.float_aligned) {
    static_cast<float*>(job.aligned)[frame] = static_cast<float>(plan.aligned);
  } else {
    static_cast<unsigned char*>(job.aligned)[frame] = static_cast<unsigned char>(plan.aligned);
  }
  for (int axis = 0; axis < 2; ++axis) {
    job.neck[2ll * frame + axis] = plan.neck[axis];
    job.hip[2ll * frame + axis] = plan.hip[axis];
  }
}

// What maps this frame's tracklet to 0..1; nothing to do in the other modes.
__device__ void find_range(const PghaParams& job, int frame, Shared& shared) {
  shared.low = 0.0f;
  shared.scale = 1.0f;
  if (job.normalization != kTracklet) return;
  const unsigned* range = job.ranges + 2 * (job.segments ? job.segments[frame] : 0);
  const bool empty = range[0] == 0xffffffffu;  // no finite value in the whole tracklet
  const float high = from_ordered(~range[1]);  // stored inverted, see pgha_range
  shared.low = empty ? 0.0f : from_ordered(range[0]);
  shared.scale = empty ? 0.0f : range_scale(shared.low, high);
}

// Peak of the map in a ring slot, for the frame's score.
template <class In>
__device__ __forceinline__ void score_map(const In* slot, unsigned* best) {
  float peak = -kLargest;
  constexpr int kPerLoad = 16 / sizeof(In);
  for (int i = threadIdx.x; i < kPixels / kPerLoad; i += kThreads) {
    float values[kPerLoad];
    unpack(reinterpret_cast<const uint4*>(slot)[i], values);
#pragma unroll
    for (int k = 0; k < kPerLoad; ++k) peak = is_finite(values[k]) ? fmaxf(peak, values[k]) : peak;
  }
  for (int step = 16; step; step >>= 1) peak = fmaxf(peak, __shfl_xor_sync(0xffffffffu, peak, step));
  if (threadIdx.x % 32 == 0 && peak > -kLargest) atomicMax(best, ordered(peak));
}

__device__ void write_score(const PghaParams& job, int frame, const Shared& shared) {
  double total = 0.0;
  if (job.keypoints) {
    for (int i = 0; i < 17; ++i) {
      const float value = job.keypoints[(static_cast<long long>(frame) * 17 + i) * 3 + 2];
      total += is_finite(value) ? value : 0.0f;
    }
    job.score[frame] = static_cast<float>(total / 17);
    return;
  }
  // 0 is below ordered() of every finite number: a map without a finite value scores 0.
  for (int i = 0; i < job.channels; ++i) total += shared.best[i] ? from_ordered(shared.best[i]) : 0.0f;
  job.score[frame] = static_cast<float>(total / job.channels);
}

// Where this thread's pixels read in an input map: one address each, since a neighbour beyond the border
// is only ever read with share 0.
struct Reads {
  int offset[kRows];
  float across[kRows], down[kRows];
};

__device__ __forceinline__ Reads find_reads(const Plan& plan, int column, int first_row, int sampling) {
  Reads reads;
#pragma unroll
  for (int i = 0; i < kRows; ++i) {
    Tap across, down;
    rotation_taps(plan, first_row + i, column, sampling, &across, &down);
    reads.offset[i] = down.low * kWidth + across.low;
    reads.across[i] = across.share;
    reads.down[i] = down.share;
  }
  return reads;
}

// Bilinear read of a map through `clean`, which normalises each value.
template <class In, class Clean>
__device__ __forceinline__ float read_map(const In* map, int offset, float across, float down, const Clean& clean) {
  const In* at = map + offset;
  const float upper = mix(clean(as_float(at[0])), clean(as_float(at[1])), across);
  const float lower = mix(clean(as_float(at[kWidth])), clean(as_float(at[kWidth + 1])), across);
  return mix(upper, lower, down);
}

__device__ __forceinline__ void write_part(const PghaParams& job, int frame, int part, int column, int first_row,
                                           const float (&values)[kRows]) {
  const long long start = (static_cast<long long>(frame) * job.total_parts + part) * kPixels;
#pragma unroll
  for (int i = 0; i < kRows; ++i) {
    const long long at = start + (first_row + i) * kWidth + column;
    if (job.half_parts) {
      static_cast<half_bits*>(job.parts)[at] = float_to_half(values[i]);
    } else {
      static_cast<float*>(job.parts)[at] = values[i];
    }
  }
}

template <int kGroups>
struct Maxima {
  float overall[kRows], group[kGroups][kRows];

  __device__ __forceinline__ Maxima() {
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      overall[i] = -kLargest;
#pragma unroll
      for (int g = 0; g < kGroups; ++g) group[g][i] = -kLargest;
    }
  }

  __device__ __forceinline__ void add(const PghaParams& job, int channel, const float (&values)[kRows]) {
#pragma unroll
    for (int i = 0; i < kRows; ++i) overall[i] = fmaxf(overall[i], values[i]);
#pragma unroll
    for (int g = 0; g < kGroups; ++g) {
      if (job.groups[g] >> channel & 1) {
#pragma unroll
        for (int i = 0; i < kRows; ++i) group[g][i] = fmaxf(group[g][i], values[i]);
      }
    }
  }
};

// kFixed clamps with one saturating move, which also turns NaN into 0.
struct CleanFixed {
  __device__ __forceinline__ float operator()(float value) const { return __saturatef(value); }
};
// Sampling and maximum commute with an increasing affine map, so kTracklet only replaces what is not finite
// and scales its results at the end.
struct CleanAffine {
  float fill;
  __device__ __forceinline__ float operator()(float value) const { return is_finite(value) ? value : fill; }
};
// The half_io form rounds the normalised value, so nothing commutes.
struct CleanGeneral {
  float low, scale;
  int normalization, rounds;
  __device__ __forceinline__ float operator()(float value) const {
    value = normalise(value, normalization, low, scale);
    return rounds ? round_to_half(value) : value;
  }
};

// Rotation into `rotated`, then translation out of it: fast form, rows of the translation are consecutive.
template <class In, class Clean>
__device__ __forceinline__ void sample_fast(const In* slot, float* rotated, const Reads& reads, const Plan& plan,
                                            int column, int first_row, const Clean& clean, float (&values)[kRows]) {
#pragma unroll
  for (int i = 0; i < kRows; ++i) {
    rotated[(first_row + i) * kWidth + column] =
        read_map(slot, reads.offset[i], reads.across[i], reads.down[i], clean);
  }
  __syncthreads();
  const Tap across = shift_tap(column, kWidth, plan.shift[0], kTwo);
  const float rows = fminf(fmaxf(plan.shift[1] * (0.5f * kHeight), -2.0f * kHeight), 2.0f * kHeight);
  const float whole = floorf(rows), down = rows - whole;
  const int first = first_row + static_cast<int>(whole);
  float upper = 0.0f;
#pragma unroll
  for (int i = 0; i <= kRows; ++i) {
    const float* row = rotated + min(max(first + i, 0), kHeight - 1) * kWidth + across.low;
    const float lower = mix(row[0], row[1], across.share);
    if (i) values[i - 1] = mix(upper, lower, down);
    upper = lower;
  }
}

template <class In>
__device__ __forceinline__ void sample_general(const In* slot, float* rotated, const Reads& reads, const Plan& plan,
                                               int column, int first_row, int sampling, const CleanGeneral& clean,
                                               float (&values)[kRows]) {
#pragma unroll
  for (int i = 0; i < kRows; ++i) {
    const float value = read_map(slot, reads.offset[i], reads.across[i], reads.down[i], clean);
    values[i] = sampling == kHalfIo ? round_to_half(value) : value;
    rotated[(first_row + i) * kWidth + column] = values[i];
  }
  __syncthreads();
  if (sampling == kOne) return;
  const Tap across = shift_tap(column, kWidth, plan.shift[0], sampling);
#pragma unroll
  for (int i = 0; i < kRows; ++i) {
    const Tap down = shift_tap(first_row + i, kHeight, plan.shift[1], sampling);
    const float value =
        mix(mix(rotated[down.low * kWidth + across.low], rotated[down.low * kWidth + across.high], across.share),
            mix(rotated[down.high * kWidth + across.low], rotated[down.high * kWidth + across.high], across.share),
            down.share);
    values[i] = sampling == kHalfIo ? round_to_half(value) : value;
  }
}

// kGeneral covers every normalization and sampling; the fast forms the two-sampling float32 one.
template <class In, class Clean, int kGroups, bool kGeneral>
__device__ __forceinline__ void align_block(const PghaParams& job) {
  GAITSTREAM_DYNAMIC_SHARED(memory);
  __shared__ Shared shared;
  constexpr int kSlot = kPixels + kPad;
  In* ring = reinterpret_cast<In*>(memory);
  float* rotated = reinterpret_cast<float*>(ring + kStages * kSlot);
  const int frame = blockIdx.x, column = threadIdx.x % kWidth, first_row = threadIdx.x / kWidth * kRows;
  const In* maps = static_cast<const In*>(job.heatmaps) + static_cast<long long>(frame) * job.channels * kPixels;

  for (int k = 0; k < kStages; ++k) {
    if (k < job.channels) fetch_map(ring + k * kSlot, maps + job.order[k] * kPixels);
    commit_copies();
  }
  for (int i = threadIdx.x; i < (kStages + 1) * kPad; i += kThreads) {  // border reads past a map find zeros
    const int slot = i / kPad, at = kPixels + i % kPad;
    if (slot < kStages) ring[slot * kSlot + at] = In(0); else rotated[at] = 0.0f;
  }
  if (threadIdx.x < kMaxChannels) shared.best[threadIdx.x] = 0u;
  if (!job.keypoints) {
    wait_copies<0>();
    __syncthreads();
    find_spine(ring, shared);
  }
  __syncthreads();
  if (threadIdx.x == 0) plan_frame(job, frame, shared);
  if (threadIdx.x == 32) find_range(job, frame, shared);
  __syncthreads();

  Clean clean;
  if constexpr (kGeneral) clean = Clean{shared.low, shared.scale, job.normalization, job.sampling == kHalfIo};
  else if constexpr (sizeof(Clean) == sizeof(float)) clean = Clean{shared.low};

  const Plan& plan = shared.plan;
  const bool moving = moves(plan, job.sampling);
  const Reads reads = find_reads(plan, column, first_row, kGeneral ? job.sampling : kTwo);
  Maxima<kGroups> maxima;
  for (int k = 0; k < job.channels; ++k) {
    wait_copies<kStages - 2>();  // all but the newest two: map k has landed
    __syncthreads();             // for every thread, and nobody still reads the slot that is refilled below
    if (k && k - 1 + kStages < job.channels) {
      fetch_map(ring + (k - 1) % kStages * kSlot, maps + job.order[k - 1 + kStages] * kPixels);
    }
    commit_copies();
    const In* slot = ring + k % kStages * kSlot;
    if (!job.keypoints && k >= kSpineJoints) score_map(slot, shared.best + k);
    float values[kRows];
    if (!moving) {
#pragma unroll
      for (int i = 0; i < kRows; ++i) values[i] = clean(as_float(slot[(first_row + i) * kWidth + column]));
    } else if constexpr (kGeneral) {
      sample_general(slot, rotated, reads, plan, column, first_row, job.sampling, clean, values);
    } else {
      sample_fast(slot, rotated, reads, plan, column, first_row, clean, values);
    }
    maxima.add(job, job.order[k], values);
  }
  if constexpr (!kGeneral && sizeof(Clean) == sizeof(float)) {
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      maxima.overall[i] = (maxima.overall[i] - shared.low) * shared.scale;
#pragma unroll
      for (int g = 0; g < kGroups; ++g) maxima.group[g][i] = (maxima.group[g][i] - shared.low) * shared.scale;
    }
  }
  if (job.first_part == 1) write_part(job, frame, 0, column, first_row, maxima.overall);
#pragma unroll
  for (int g = 0; g < kGroups; ++g) {
    if (g < job.group_count) write_part(job, frame, job.first_part + g, column, first_row, maxima.group[g]);
  }
  __syncthreads();
  if (threadIdx.x == 0) write_score(job, frame, shared);
}

// Minimum and maximum over finite values, per tracklet. `ranges` [tracklets, 2] starts as all ones and holds
// ordered(min) and ~ordered(max), so that one memset prepares both.
template <class In>
__device__ __forceinline__ void range_block(const In* heatmaps, const int* segments, int channels, unsigned* ranges) {
  const long long count = static_cast<long long>(channels) * kPixels;
  const In* values = heatmaps + blockIdx.x * count;
  constexpr int kPerLoad = 16 / sizeof(In);
  unsigned low = 0xffffffffu, inverse_high = 0xffffffffu;
  for (long long i = threadIdx.x; i < count / kPerLoad; i += blockDim.x) {
    float few[kPerLoad];
    unpack(__ldg(reinterpret_cast<const uint4*>(values) + i), few);
#pragma unroll
    for (int k = 0; k < kPerLoad; ++k) {
      if (is_finite(few[k])) {
        low = min(low, ordered(few[k]));
        inverse_high = min(inverse_high, ~ordered(few[k]));
      }
    }
  }
  for (int step = 16; step; step >>= 1) {
    low = min(low, __shfl_xor_sync(0xffffffffu, low, step));
    inverse_high = min(inverse_high, __shfl_xor_sync(0xffffffffu, inverse_high, step));
  }
  if (threadIdx.x % 32 == 0) {
    unsigned* range = ranges + 2 * (segments ? segments[blockIdx.x] : 0);
    atomicMin(range, low);
    atomicMin(range + 1, inverse_high);
  }
}

}  // namespace

// Two blocks share a multiprocessor's registers, where its shared memory holds two: not before sm_80.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
#define GAITSTREAM_BLOCKS 1
#else
#define GAITSTREAM_BLOCKS 2
#endif

#define GAITSTREAM_PGHA(name, In, Clean, groups, general, blocks)                                        \
  extern "C" __global__ void __launch_bounds__(kThreads, blocks) name(const __grid_constant__ PghaParams job) { \
    align_block<In, Clean, groups, general>(job);                                                        \
  }

GAITSTREAM_PGHA(pgha_f32_fixed, float, CleanFixed, kFewGroups, false, GAITSTREAM_BLOCKS)
GAITSTREAM_PGHA(pgha_f32_affine, float, CleanAffine, kFewGroups, false, GAITSTREAM_BLOCKS)
GAITSTREAM_PGHA(pgha_f32_general, float, CleanGeneral, kLaunchGroups, true, 1)
GAITSTREAM_PGHA(pgha_f16_fixed, half_bits, CleanFixed, kFewGroups, false, GAITSTREAM_BLOCKS)
GAITSTREAM_PGHA(pgha_f16_affine, half_bits, CleanAffine, kFewGroups, false, GAITSTREAM_BLOCKS)
GAITSTREAM_PGHA(pgha_f16_general, half_bits, CleanGeneral, kLaunchGroups, true, 1)

extern "C" __global__ void pgha_range_f32(const float* heatmaps, const int* segments, int channels,
                                          unsigned* ranges) {
  range_block(heatmaps, segments, channels, ranges);
}

extern "C" __global__ void pgha_range_f16(const half_bits* heatmaps, const int* segments, int channels,
                                          unsigned* ranges) {
  range_block(heatmaps, segments, channels, ranges);
}

// Pose-guided heatmap alignment on the CPU, from the mathematics of pgha_math.cuh.
//
// A rotated read touches four scattered pixels, and gathers are slow on every CPU. So a frame that moves
// is first transposed to [pixel][channels]: one vector then holds a pixel of 16 joints (8 without AVX-512), a tap is
// four aligned loads, and both samplings run at load speed. Rotated rows live in a ring of two, because
// the translation after them never needs more. Frames that do not move are read once, channel by channel.
#include "pgha.cuh"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <memory>
#include <thread>
#include <vector>
#if defined(__F16C__)
#include <immintrin.h>
#endif

using namespace gaitstream;

extern "C" {
struct PghaRequest {
  const void* heatmaps;     // [n, channels, 64, 48], float32 or float16
  const float* keypoints;   // [n, 17, 3] x, y, score, or null: arg-max of the spine's maps
  const int32_t* segments;  // [n] tracklet of each frame, 0..n-1, or null: one tracklet (kTracklet only)
  const uint64_t* groups;   // [group_count] bit masks over channels
  float* parts;             // [n, 1 + group_count, 64, 48]
  float* angle_deg;         // [n]
  uint8_t* aligned;         // [n]
  float* neck;              // [n, 2]
  float* hip;               // [n, 2]
  float* score;             // [n]
  int64_t n;
  int32_t channels, group_count, is_half, normalization, sampling, align_small, threads;
  int32_t joints[4];        // channels of left and right shoulder, left and right hip
  double gamma_deg, target_x, target_y;
};
}

namespace {

#if defined(__AVX512F__)
constexpr int kLanes = 16;
#else
constexpr int kLanes = 8;
#endif
constexpr int kLooseChannels = kLanes / 4;  // up to this many left-over channels are cheaper alone than as a block

typedef float Vector __attribute__((vector_size(4 * kLanes)));
typedef float LooseVector __attribute__((vector_size(4 * kLanes), aligned(4), may_alias));
typedef int32_t Mask __attribute__((vector_size(4 * kLanes)));

inline Vector splat(float value) { return Vector{} + value; }
inline Vector larger(Vector a, Vector b) { return a > b ? a : b; }
inline Vector finite_or(Vector value, Vector other) { return (value - value == splat(0.0f)) ? value : other; }
inline Vector blend(Vector a, Vector b, float share) { return a + splat(share) * (b - a); }

inline Vector load(const float* from) { return *reinterpret_cast<const LooseVector*>(from); }
inline void store(float* to, Vector value) { *reinterpret_cast<LooseVector*>(to) = value; }

inline Vector load(const half_bits* from) {
#if defined(__AVX512F__)
  return (Vector)_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
#elif defined(__F16C__)
  return (Vector)_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
#else
  Vector value;
  for (int i = 0; i < kLanes; ++i) value[i] = half_to_float(from[i]);
  return value;
#endif
}

inline Vector round_to_half(Vector value) {
#if defined(__AVX512F__)
  return (Vector)_mm512_cvtph_ps(_mm512_cvtps_ph((__m512)value, _MM_FROUND_TO_NEAREST_INT));
#elif defined(__F16C__)
  return (Vector)_mm256_cvtph_ps(_mm256_cvtps_ph((__m256)value, _MM_FROUND_TO_NEAREST_INT));
#else
  for (int i = 0; i < kLanes; ++i) value[i] = gaitstream::round_to_half(value[i]);
  return value;
#endif
}

struct Range {
  float low = kLargest, high = -kLargest;
};

// Normalises a vector with the mode fixed at compile time; same rules as normalise().
template <int kMode>
struct Normaliser {
  float low, scale;
  bool rounds;  // to half, as the half_io form does with its input
  Vector operator()(Vector value) const {
    value = in_range(value);
    return rounds ? round_to_half(value) : value;
  }
  Vector in_range(Vector value) const {
    if (kMode == kFixed) {
      value = value > splat(0.0f) ? value : splat(0.0f);
      return value < splat(1.0f) ? value : splat(1.0f);
    }
    if (kMode == kTracklet) return (finite_or(value, splat(low)) - splat(low)) * splat(scale);
    return finite_or(value, splat(0.0f));
  }
};

// Interleaving rows i and i + half, once per bit of the lane number, transposes the square.
inline void transpose(Vector (&rows)[kLanes]) {
#if defined(__AVX512F__)
  constexpr Mask kLow{0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23};
  constexpr Mask kHigh{8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
#else
  constexpr Mask kLow{0, 8, 1, 9, 2, 10, 3, 11}, kHigh{4, 12, 5, 13, 6, 14, 7, 15};
#endif
  for (int round = 1; round < kLanes; round *= 2) {
    Vector next[kLanes];
    for (int i = 0; i < kLanes / 2; ++i) {
      next[2 * i] = __builtin_shuffle(rows[i], rows[i + kLanes / 2], kLow);
      next[2 * i + 1] = __builtin_shuffle(rows[i], rows[i + kLanes / 2], kHigh);
    }
    for (int i = 0; i < kLanes; ++i) rows[i] = next[i];
  }
}

struct RowTaps {
  int32_t across_low[kWidth], across_high[kWidth], down_low[kWidth], down_high[kWidth];
  float across_share[kWidth], down_share[kWidth];
};

// One thread's memory, reused for every frame it takes.
struct Scratch {
  int blocks, loose;
  std::vector<Vector> pixels;                // [blocks][pixel], a vector over channels
  std::vector<Vector> ring;                  // [blocks][2 rows][48]
  std::vector<float> loose_maps, loose_ring; // [loose][pixel], [loose][2 rows][48]
  std::vector<float> rows;                   // [1 + groups][48]: an output row before it is written

  Scratch(int channels, int parts) {
#if defined(GAITSTREAM_PGHA_PLANAR)  // for the benchmark: what the transposition is worth
    loose = channels;
#else
    loose = channels % kLanes <= kLooseChannels ? channels % kLanes : 0;
#endif
    blocks = (channels - loose + kLanes - 1) / kLanes;
    pixels.resize(static_cast<size_t>(blocks) * kPixels);
    ring.resize(static_cast<size_t>(blocks) * 2 * kWidth);
    loose_maps.resize(static_cast<size_t>(loose) * kPixels);
    loose_ring.resize(static_cast<size_t>(loose) * 2 * kWidth);
    rows.resize(static_cast<size_t>(parts) * kWidth);
  }
};

template <class In>
Range finite_range(const In* values, size_t count) {
  Vector low = splat(kLargest), high = splat(-kLargest);
  for (size_t i = 0; i < count; i += kLanes) {
    const Vector value = load(values + i);
    const auto finite = value - value == splat(0.0f);
    low = (finite & (value < low)) ? value : low;
    high = (finite & (value > high)) ? value : high;
  }
  Range range;
  for (int i = 0; i < kLanes; ++i) {
    range.low = std::min(range.low, low[i]);
    range.high = std::max(range.high, high[i]);
  }
  return range;
}

// Largest finite value of a map and where it first occurs; 0 at the origin when there is none.
template <class In>
Joint arg_max(const In* map) {
  const Vector lowest = splat(-kLargest);
  Vector best = lowest;
  for (int i = 0; i < kPixels; i += kLanes) best = larger(finite_or(load(map + i), lowest), best);
  float peak = best[0];
  for (int i = 1; i < kLanes; ++i) peak = std::max(peak, best[i]);
  for (int i = 0; i < kPixels; ++i) {
    if (as_float(map[i]) == peak) return {static_cast<float>(i % kWidth), static_cast<float>(i / kWidth), peak};
  }
  return {0.0f, 0.0f, 0.0f};
}

template <class In>
float peak_of(const In* map) {
  const Range range = finite_range(map, kPixels);
  return range.high < range.low ? 0.0f : range.high;
}

template <class In>
Plan find_plan(const PghaRequest& job, const In* maps, int64_t frame, float* score) {
  const Policy policy{job.gamma_deg, job.target_x, job.target_y, job.align_small};
  Joint joint[kSpineJoints];
  double total = 0;
  if (job.keypoints) {
    constexpr int kCoco = 17;
    const float* given = job.keypoints + frame * kCoco * 3;
    for (int i = 0; i < kCoco; ++i) total += is_finite(given[3 * i + 2]) ? given[3 * i + 2] : 0.0f;
    total /= kCoco;
    for (int i = 0; i < kSpineJoints; ++i) {
      const float* row = given + 3 * job.joints[i];
      joint[i] = {row[0], row[1], row[2]};
    }
  } else {
    for (int c = 0; c < job.channels; ++c) {
      const int* spine = std::find(job.joints, job.joints + kSpineJoints, c);
      if (spine == job.joints + kSpineJoints) {
        total += peak_of(maps + static_cast<size_t>(c) * kPixels);
      } else {
        const Joint found = arg_max(maps + static_cast<size_t>(c) * kPixels);
        joint[spine - job.joints] = found;
        total += found.score;
      }
    }
    total /= job.channels;
  }
  *score = static_cast<float>(total);
  return make_plan(joint[0], joint[1], joint[2], joint[3], policy);
}

// A frame that stays where it is: normalise and take maxima, one pass over the input.
template <class In, int kMode>
void merge_still(const PghaRequest& job, const In* maps, const Normaliser<kMode>& normaliser, float* parts) {
  constexpr int kStrip = 8;  // vectors of one channel per visit, so that the maxima stay in registers
  for (int start = 0; start < kPixels; start += kStrip * kLanes) {
    Vector overall[kStrip];
    for (auto& value : overall) value = splat(-kLargest);
    uint64_t seen = 0;
    for (int g = 0; g < job.group_count; ++g) {
      Vector best[kStrip];
      for (auto& value : best) value = splat(-kLargest);
      for (int c = 0; c < job.channels; ++c) {
        if (!(job.groups[g] >> c & 1)) continue;
        const In* from = maps + static_cast<size_t>(c) * kPixels + start;
        for (int i = 0; i < kStrip; ++i) best[i] = larger(normaliser(load(from + i * kLanes)), best[i]);
      }
      seen |= job.groups[g];
      float* to = parts + static_cast<size_t>(g + 1) * kPixels + start;
      for (int i = 0; i < kStrip; ++i) {
        store(to + i * kLanes, best[i]);
        overall[i] = larger(best[i], overall[i]);
      }
    }
    for (int c = 0; c < job.channels; ++c) {
      if (seen >> c & 1) continue;
      const In* from = maps + static_cast<size_t>(c) * kPixels + start;
      for (int i = 0; i < kStrip; ++i) overall[i] = larger(normaliser(load(from + i * kLanes)), overall[i]);
    }
    for (int i = 0; i < kStrip; ++i) store(parts + start + i * kLanes, overall[i]);
  }
}

template <class In, int kMode>
void transpose_frame(int channels, const In* maps, const Normaliser<kMode>& normaliser, Scratch& scratch) {
  for (int block = 0; block < scratch.blocks; ++block) {
    const int first = block * kLanes, count = std::min(kLanes, channels - scratch.loose - first);
    Vector* out = scratch.pixels.data() + static_cast<size_t>(block) * kPixels;
    for (int i = 0; i < kPixels; i += kLanes) {
      Vector rows[kLanes];
      for (int c = 0; c < count; ++c) rows[c] = normaliser(load(maps + static_cast<size_t>(first + c) * kPixels + i));
      for (int c = count; c < kLanes; ++c) rows[c] = splat(0.0f);
      transpose(rows);
      for (int c = 0; c < kLanes; ++c) out[i + c] = rows[c];
    }
  }
  const In* loose = maps + static_cast<size_t>(channels - scratch.loose) * kPixels;
  for (int i = 0; i < scratch.loose * kPixels; i += kLanes) {
    store(scratch.loose_maps.data() + i, normaliser(load(loose + i)));
  }
}

template <int kSampling>
void find_row_taps(const Plan& plan, int row, RowTaps& taps) {
  for (int column = 0; column < kWidth; ++column) {
    Tap across, down;
    rotation_taps(plan, row, column, kSampling, &across, &down);
    taps.across_low[column] = across.low;
    taps.across_high[column] = across.high;
    taps.across_share[column] = across.share;
    taps.down_low[column] = down.low * kWidth;
    taps.down_high[column] = down.high * kWidth;
    taps.down_share[column] = down.share;
  }
}

// Fills ring slot `row & 1` with rotated row `row` of every block and loose channel.
template <int kSampling>
void rotate_row(const Plan& plan, int row, Scratch& scratch) {
  RowTaps taps;
  find_row_taps<kSampling>(plan, row, taps);
  for (int block = 0; block < scratch.blocks; ++block) {
    const Vector* from = scratch.pixels.data() + static_cast<size_t>(block) * kPixels;
    Vector* to = scratch.ring.data() + (block * 2 + (row & 1)) * kWidth;
    for (int j = 0; j < kWidth; ++j) {
      const Vector *upper = from + taps.down_low[j], *lower = from + taps.down_high[j];
      const int left = taps.across_low[j], right = taps.across_high[j];
      const Vector value = blend(blend(upper[left], upper[right], taps.across_share[j]),
                                 blend(lower[left], lower[right], taps.across_share[j]), taps.down_share[j]);
      to[j] = kSampling == kHalfIo ? round_to_half(value) : value;
    }
  }
  for (int c = 0; c < scratch.loose; ++c) {
    const float* from = scratch.loose_maps.data() + static_cast<size_t>(c) * kPixels;
    float* to = scratch.loose_ring.data() + (c * 2 + (row & 1)) * kWidth;
    for (int j = 0; j < kWidth; ++j) {
      const float *upper = from + taps.down_low[j], *lower = from + taps.down_high[j];
      const int left = taps.across_low[j], right = taps.across_high[j];
      const float value = mix(mix(upper[left], upper[right], taps.across_share[j]),
                              mix(lower[left], lower[right], taps.across_share[j]), taps.down_share[j]);
      to[j] = kSampling == kHalfIo ? gaitstream::round_to_half(value) : value;
    }
  }
}

// Maxima of a block's channels at as many pixels into the parts that hold them.
inline void merge_block(const PghaRequest& job, int first, int count, const Vector (&channel)[kLanes], float* rows) {
  Vector overall = channel[0];
  for (int c = 1; c < count; ++c) overall = larger(channel[c], overall);
  store(rows, larger(overall, load(rows)));
  for (int g = 0; g < job.group_count; ++g) {
    uint64_t members = (job.groups[g] >> first) & ((uint64_t{1} << count) - 1);
    float* to = rows + (g + 1) * kWidth;
    Vector best = load(to);
    for (; members; members &= members - 1) best = larger(channel[__builtin_ctzll(members)], best);
    store(to, best);
  }
}

template <int kSampling>
void emit_row(const PghaRequest& job, const Tap (&across)[kWidth], const Tap& down, Scratch& scratch) {
  std::fill(scratch.rows.begin(), scratch.rows.end(), -kLargest);
  for (int block = 0; block < scratch.blocks; ++block) {
    const int first = block * kLanes, count = std::min(kLanes, job.channels - scratch.loose - first);
    const Vector* upper = scratch.ring.data() + (block * 2 + (down.low & 1)) * kWidth;
    const Vector* lower = scratch.ring.data() + (block * 2 + (down.high & 1)) * kWidth;
    Vector between[kWidth];
    for (int j = 0; j < kWidth; ++j) between[j] = kSampling == kOne ? upper[j] : blend(upper[j], lower[j], down.share);
    for (int start = 0; start < kWidth; start += kLanes) {
      Vector values[kLanes];
      for (int j = 0; j < kLanes; ++j) {
        const Tap& tap = across[start + j];
        values[j] = kSampling == kOne ? between[start + j] : blend(between[tap.low], between[tap.high], tap.share);
        if (kSampling == kHalfIo) values[j] = round_to_half(values[j]);
      }
      transpose(values);
      merge_block(job, first, count, values, scratch.rows.data() + start);
    }
  }
  for (int c = 0; c < scratch.loose; ++c) {
    const int channel = job.channels - scratch.loose + c;
    const float* upper = scratch.loose_ring.data() + (c * 2 + (down.low & 1)) * kWidth;
    const float* lower = scratch.loose_ring.data() + (c * 2 + (down.high & 1)) * kWidth;
    float between[kWidth], values[kWidth];
    for (int j = 0; j < kWidth; ++j) {
      between[j] = kSampling == kOne ? upper[j] : mix(upper[j], lower[j], down.share);
    }
    for (int j = 0; j < kWidth; ++j) {
      values[j] = kSampling == kOne ? between[j]
                                    : mix(between[across[j].low], between[across[j].high], across[j].share);
      if (kSampling == kHalfIo) values[j] = gaitstream::round_to_half(values[j]);
    }
    for (int part = 0; part <= job.group_count; ++part) {
      if (part && !(job.groups[part - 1] >> channel & 1)) continue;
      float* row = scratch.rows.data() + part * kWidth;
      for (int j = 0; j < kWidth; ++j) row[j] = std::max(row[j], values[j]);
    }
  }
}

template <int kSampling>
void merge_moving(const PghaRequest& job, const Plan& plan, Scratch& scratch, float* parts) {
  Tap across[kWidth];
  for (int j = 0; j < kWidth; ++j) across[j] = shift_tap(j, kWidth, plan.shift[0], kSampling);
  int ready[2] = {-1, -1};
  for (int row = 0; row < kHeight; ++row) {
    Tap down = kSampling == kOne ? Tap{row, row, 0.0f} : shift_tap(row, kHeight, plan.shift[1], kSampling);
    for (const int needed : {down.low, down.high}) {
      if (ready[needed & 1] == needed) continue;
      rotate_row<kSampling>(plan, needed, scratch);
      ready[needed & 1] = needed;
    }
    emit_row<kSampling>(job, across, down, scratch);
    for (int part = 0; part <= job.group_count; ++part) {
      std::copy_n(scratch.rows.data() + part * kWidth, kWidth,
                  parts + static_cast<size_t>(part) * kPixels + row * kWidth);
    }
  }
}

template <class In, int kMode>
void align_normalised(const PghaRequest& job, const In* maps, const Plan& plan, const Range& range, float* parts,
                      Scratch& scratch) {
  const Normaliser<kMode> normaliser{range.low, range_scale(range.low, range.high), job.sampling == kHalfIo};
  if (!moves(plan, job.sampling)) {
    merge_still<In, kMode>(job, maps, normaliser, parts);
    return;
  }
  transpose_frame<In, kMode>(job.channels, maps, normaliser, scratch);
  if (job.sampling == kTwo) merge_moving<kTwo>(job, plan, scratch, parts);
  if (job.sampling == kHalfIo) merge_moving<kHalfIo>(job, plan, scratch, parts);
  if (job.sampling == kOne) merge_moving<kOne>(job, plan, scratch, parts);
}

template <class In>
void align_frame(const PghaRequest& job, int64_t frame, const Range& range, Scratch& scratch) {
  const In* maps = static_cast<const In*>(job.heatmaps) + static_cast<size_t>(frame) * job.channels * kPixels;
  float* parts = job.parts + static_cast<size_t>(frame) * (1 + job.group_count) * kPixels;
  const Plan plan = find_plan(job, maps, frame, job.score + frame);
  job.angle_deg[frame] = plan.angle_deg;
  job.aligned[frame] = static_cast<uint8_t>(plan.aligned);
  std::copy_n(plan.neck, 2, job.neck + 2 * frame);
  std::copy_n(plan.hip, 2, job.hip + 2 * frame);
  if (job.normalization == kNone) align_normalised<In, kNone>(job, maps, plan, range, parts, scratch);
  if (job.normalization == kFixed) align_normalised<In, kFixed>(job, maps, plan, range, parts, scratch);
  if (job.normalization == kTracklet) align_normalised<In, kTracklet>(job, maps, plan, range, parts, scratch);
}

// Runs work(frame, scratch) for every frame on `threads` threads.
template <class Work>
void for_each_frame(const PghaRequest& job, Work work) {
  const int threads = static_cast<int>(std::max<int64_t>(1, std::min<int64_t>(job.threads, job.n / 2)));
  std::atomic<int64_t> next{0};
  const auto loop = [&] {
    Scratch scratch(job.channels, 1 + job.group_count);
    for (int64_t frame = next++; frame < job.n; frame = next++) work(frame, scratch);
  };
  std::vector<std::thread> others;
  for (int i = 1; i < threads; ++i) others.emplace_back(loop);
  loop();
  for (auto& thread : others) thread.join();
}

template <class In>
void run(const PghaRequest& job) {
  std::vector<Range> ranges(1);
  if (job.normalization == kTracklet) {
    std::vector<Range> per_frame(static_cast<size_t>(job.n));
    const size_t count = static_cast<size_t>(job.channels) * kPixels;
    for_each_frame(job, [&](int64_t frame, Scratch&) {
      per_frame[frame] = finite_range(static_cast<const In*>(job.heatmaps) + frame * count, count);
    });
    ranges.assign(static_cast<size_t>(job.segments ? job.n : 1), Range{});
    for (int64_t frame = 0; frame < job.n; ++frame) {
      Range& range = ranges[job.segments ? job.segments[frame] : 0];
      range.low = std::min(range.low, per_frame[frame].low);
      range.high = std::max(range.high, per_frame[frame].high);
    }
  }
  for_each_frame(job, [&](int64_t frame, Scratch& scratch) {
    const bool by_segment = job.normalization == kTracklet && job.segments;
    align_frame<In>(job, frame, ranges[by_segment ? job.segments[frame] : 0], scratch);
  });
}

}  // namespace

extern "C" void gaitstream_pgha(const PghaRequest* job) {
  if (job->is_half) {
    run<half_bits>(*job);
  } else {
    run<float>(*job);
  }
}

// Rows of theta for spines given as joints [n, 4, 2]: rotation [n, 2, 3], shift [n, 2], angle [n], aligned [n].
extern "C" void gaitstream_pgha_plan(const float* joints, int64_t n, double gamma_deg, int align_small,
                                     double target_x, double target_y, float* rotation, float* shift, float* angle,
                                     uint8_t* aligned) {
  const Policy policy{gamma_deg, target_x, target_y, align_small};
  for (int64_t i = 0; i < n; ++i) {
    Joint joint[kSpineJoints];
    for (int k = 0; k < kSpineJoints; ++k) joint[k] = {joints[8 * i + 2 * k], joints[8 * i + 2 * k + 1], 0.0f};
    const Plan plan = make_plan(joint[0], joint[1], joint[2], joint[3], policy);
    std::copy_n(plan.rotation, 6, rotation + 6 * i);
    std::copy_n(plan.shift, 2, shift + 2 * i);
    angle[i] = plan.angle_deg;
    aligned[i] = static_cast<uint8_t>(plan.aligned);
  }
}

// Sizes of the structs that the Python side mirrors.
extern "C" int gaitstream_pgha_request_bytes() { return static_cast<int>(sizeof(PghaRequest)); }
extern "C" int gaitstream_pgha_params_bytes() { return static_cast<int>(sizeof(PghaParams)); }

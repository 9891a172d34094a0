// Pose-guided heatmap alignment: the mathematics, once, for the GPU (nvcc, NVRTC) and the CPU (host compiler).
//
// No standard header is needed on the device, so that NVRTC compiles this file as it is.
// Coordinates: x right, y down, heatmap pixels. Normalised grid coordinates follow
// `align_corners=False`: pixel j of a row of 48 lies at (2 j + 1) / 48 - 1.
#ifndef GAITSTREAM_PGHA_MATH_CUH
#define GAITSTREAM_PGHA_MATH_CUH

#if defined(__CUDACC__) || defined(__CUDACC_RTC__)
#define GS_FN __host__ __device__ __forceinline__
#else
#include <cmath>
#include <cstdint>
#include <cstring>
#define GS_FN inline __attribute__((always_inline))
#endif

namespace gaitstream {

constexpr int kHeight = 64;
constexpr int kWidth = 48;
constexpr int kPixels = kHeight * kWidth;
constexpr int kMaxChannels = 64;
constexpr int kMaxGroups = 16;
constexpr double kAngleSlack = 1e-9;  // degrees: a tilt of exactly gamma counts as such on every machine
constexpr float kLargest = 3.402823466e38f;

// COCO joints that span the spine: left and right shoulder, left and right hip.
constexpr int kSpineJoints = 4;

enum Normalization { kNone = 0, kFixed = 1, kTracklet = 2 };
enum Sampling { kTwo = 0, kHalfIo = 1, kOne = 2 };

typedef unsigned short half_bits;

struct Joint {
  float x, y, score;
};

// Where each output pixel of a frame reads from, as float32 rows of theta (output to input, normalised).
struct Plan {
  float rotation[6];   // first sampling: rotation about the spine's centre
  float shift[2];      // second sampling: x, y offsets of the translation (its linear part is the identity)
  float neck[2], hip[2];
  float angle_deg;     // 0 when a joint is not finite
  int aligned;         // 0: both matrices are the identity
};

struct Policy {
  double gamma_deg;
  double target_x, target_y;
  int align_small;     // rotate and translate frames at or under gamma too
};

// Two neighbours of a coordinate on one axis and the share of the second.
struct Tap {
  int low, high;
  float share;
};

GS_FN float half_to_float(half_bits bits) {
#if defined(__CUDA_ARCH__)
  float value;
  asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
  return value;
#else
  const unsigned sign = (bits & 0x8000u) << 16, exponent = (bits >> 10) & 31u, fraction = bits & 1023u;
  unsigned word;
  if (exponent == 31) {
    word = sign | 0x7f800000u | (fraction << 13);
  } else if (exponent) {
    word = sign | ((exponent + 112) << 23) | (fraction << 13);
  } else {
    const float tiny = static_cast<float>(fraction) * 5.9604644775390625e-8f;  // 2^-24
    return sign ? -tiny : tiny;
  }
  float value;
  memcpy(&value, &word, 4);
  return value;
#endif
}

// Rounds to nearest even, as every device does.
GS_FN half_bits float_to_half(float value) {
#if defined(__CUDA_ARCH__)
  half_bits bits;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value));
  return bits;
#else
  unsigned word;
  memcpy(&word, &value, 4);
  const unsigned sign = (word >> 16) & 0x8000u;
  word &= 0x7fffffffu;
  if (word > 0x7f800000u) return static_cast<half_bits>(sign | 0x7e00u);
  if (word >= 0x477ff000u) return static_cast<half_bits>(sign | 0x7c00u);
  if (word < 0x38800000u) {  // subnormal half: adding 0.5 lets the FPU round at 2^-24
    float shifted;
    memcpy(&shifted, &word, 4);
    shifted += 0.5f;
    memcpy(&word, &shifted, 4);
    return static_cast<half_bits>(sign | (word - 0x3f000000u));
  }
  const unsigned odd = (word >> 13) & 1u;
  return static_cast<half_bits>(sign | ((word - 0x38000000u + 0xfffu + odd) >> 13));
#endif
}

GS_FN float round_to_half(float value) { return half_to_float(float_to_half(value)); }

GS_FN float as_float(float value) { return value; }
GS_FN float as_float(half_bits bits) { return half_to_float(bits); }

// False for NaN and both infinities.
GS_FN bool is_finite(float value) { return value - value == 0.0f; }

// NaN says nothing about its pixel and counts as 0; so do infinities, unless the values are clamped anyway.
// `low` and `scale` are only read for kTracklet, where constant maps come with scale 0.
GS_FN float normalise(float value, int mode, float low, float scale) {
  if (mode == kFixed) return value > 0.0f ? (value < 1.0f ? value : 1.0f) : 0.0f;
  if (!is_finite(value)) return 0.0f;
  return mode == kTracklet ? (value - low) * scale : value;
}

// 1 / (high - low), or 0 for a constant tracklet or one without a finite value.
GS_FN float range_scale(float low, float high) { return high > low ? 1.0f / (high - low) : 0.0f; }

// A joint that is not finite leaves its frame as it is. Coinciding neck and hip have no direction; they count
// as lying along x, a tilt of -90 degrees, which is what atan2(0, 0) = 0 makes of them in the published method.
GS_FN Plan make_plan(Joint left_shoulder, Joint right_shoulder, Joint left_hip, Joint right_hip,
                     const Policy& policy) {
  const double neck_x = 0.5 * (static_cast<double>(left_shoulder.x) + right_shoulder.x);
  const double neck_y = 0.5 * (static_cast<double>(left_shoulder.y) + right_shoulder.y);
  const double hip_x = 0.5 * (static_cast<double>(left_hip.x) + right_hip.x);
  const double hip_y = 0.5 * (static_cast<double>(left_hip.y) + right_hip.y);
  double dx = hip_x - neck_x, dy = hip_y - neck_y;
  const double length = sqrt(dx * dx + dy * dy);
  const bool defined = length <= static_cast<double>(kLargest);
  if (length > 0.0) {
    dx /= length;
    dy /= length;
  } else {
    dx = 1.0;
    dy = 0.0;
  }

  Plan plan;
  plan.neck[0] = static_cast<float>(neck_x);
  plan.neck[1] = static_cast<float>(neck_y);
  plan.hip[0] = static_cast<float>(hip_x);
  plan.hip[1] = static_cast<float>(hip_y);
  const double angle = defined ? atan2(dy, dx) * 57.295779513082320877 - 90.0 : 0.0;
  plan.angle_deg = static_cast<float>(angle);
  plan.aligned = defined && (policy.align_small || fabs(angle) > policy.gamma_deg + kAngleSlack);
  if (!plan.aligned) {
    for (int i = 0; i < 6; ++i) plan.rotation[i] = (i == 0 || i == 4) ? 1.0f : 0.0f;
    plan.shift[0] = plan.shift[1] = 0.0f;
    return plan;
  }
  // angle = atan2(dy, dx) - 90 degrees of a unit vector, hence cos(angle) = dy and sin(angle) = -dx.
  const double cosine = dy, sine = -dx;
  const double centre_x = 0.5 * (neck_x + hip_x), centre_y = 0.5 * (neck_y + hip_y);
  const double back_x = centre_x - (cosine * centre_x - sine * centre_y);
  const double back_y = centre_y - (sine * centre_x + cosine * centre_y);
  // theta = T M^-1 T^-1 with T = [[2/48, 0, -1], [0, 2/64, -1], [0, 0, 1]].
  const double half_w = 0.5 * kWidth, half_h = 0.5 * kHeight;
  plan.rotation[0] = static_cast<float>(cosine);
  plan.rotation[1] = static_cast<float>(-sine * half_h / half_w);
  plan.rotation[2] = static_cast<float>(cosine - sine * half_h / half_w + back_x / half_w - 1.0);
  plan.rotation[3] = static_cast<float>(sine * half_w / half_h);
  plan.rotation[4] = static_cast<float>(cosine);
  plan.rotation[5] = static_cast<float>(sine * half_w / half_h + cosine + back_y / half_h - 1.0);
  // The rotation puts the neck straight above the centre, half a spine away.
  plan.shift[0] = static_cast<float>((centre_x - policy.target_x) / half_w);
  plan.shift[1] = static_cast<float>((centre_y - 0.5 * length - policy.target_y) / half_h);
  return plan;
}

// Normalised coordinate of pixel `index` on an axis of `size` pixels.
GS_FN float grid(int index, int size) { return static_cast<float>(2 * index + 1) / static_cast<float>(size) - 1.0f; }

// Back to pixels, clamped to the border; NaN becomes 0.
GS_FN float pixel(float coordinate, int size) {
  const float value = ((coordinate + 1.0f) * static_cast<float>(size) - 1.0f) * 0.5f;
  const float last = static_cast<float>(size - 1);
  return value > 0.0f ? (value < last ? value : last) : 0.0f;
}

GS_FN Tap tap(float coordinate, int size) {
  const float position = pixel(coordinate, size);
  Tap result;
  result.low = static_cast<int>(position);
  result.high = result.low + 1 < size ? result.low + 1 : size - 1;
  result.share = position - static_cast<float>(result.low);
  return result;
}

// The published half-precision form rounds the grid to half before it samples.
GS_FN float grid_value(float coordinate, int sampling) {
  return sampling == kHalfIo ? round_to_half(coordinate) : coordinate;
}

// Second sampling: a pure translation, so the axes are independent.
GS_FN Tap shift_tap(int index, int size, float offset, int sampling) {
  return tap(grid_value(grid(index, size) + offset, sampling), size);
}

// First sampling (or the only one, when the translation is folded into it).
GS_FN void rotation_taps(const Plan& plan, int row, int column, int sampling, Tap* across, Tap* down) {
  float u = grid(column, kWidth), v = grid(row, kHeight);
  if (sampling == kOne) {
    u += plan.shift[0];
    v += plan.shift[1];
  }
  const float* m = plan.rotation;
  *across = tap(grid_value(m[0] * u + m[1] * v + m[2], sampling), kWidth);
  *down = tap(grid_value(m[3] * u + m[4] * v + m[5], sampling), kHeight);
}

// Sampling with the identity changes nothing, except that the half_io form's rounded grid is not quite one.
GS_FN bool moves(const Plan& plan, int sampling) { return plan.aligned || sampling == kHalfIo; }

GS_FN float mix(float a, float b, float share) { return a + share * (b - a); }

}  // namespace gaitstream

#endif

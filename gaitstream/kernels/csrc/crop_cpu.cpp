// Crops on the CPU, from the mathematics of crop_math.cuh.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <thread>
#include <vector>

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

#include "crop_math.cuh"

using namespace gaitstream;

namespace {

const int64_t kWorthAThread = 4;  // crops; starting one takes as long as half of one

// One axis of a crop: per output index the first of the two source indices, and the second one's share.
struct Taps {
  std::vector<int> first;
  std::vector<float> share;

  Taps(int count, float scale, float offset, int low, int high, bool black_outside) : first(count), share(count) {
    for (int i = 0; i < count; ++i) {
      const float at = static_cast<float>(i) * scale + offset;
      const float kept = black_outside ? within(at, low - 1, high + 1) : within(at, low, high);
      const float floor = floorf(kept);
      first[i] = static_cast<int>(floor);
      share[i] = kept - floor;
    }
  }
};

// What four neighbouring floats of an interleaved row hold: a pixel, and the next one's first channel.
typedef float Four __attribute__((vector_size(16)));

Four load(const float* from) {
  Four value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

// Four columns of an output row: the two pixels of each lie at `place` of `row` and beside it, `shares` are the second
// one's, once per channel. The channels go to three planes, rounded.
void blend_four(const float* row, const int* place, const float* shares, byte* const (&to)[3]) {
#if defined(__AVX512F__)
  const auto gather = [&](const float* from) {
    __m512 four = _mm512_castps128_ps512(_mm_loadu_ps(from + place[0]));
    four = _mm512_insertf32x4(four, _mm_loadu_ps(from + place[1]), 1);
    four = _mm512_insertf32x4(four, _mm_loadu_ps(from + place[2]), 2);
    return _mm512_insertf32x4(four, _mm_loadu_ps(from + place[3]), 3);
  };
  const __m512 left = gather(row), right = gather(row + 3);
  const __m512 value = _mm512_fmadd_ps(_mm512_sub_ps(right, left), _mm512_loadu_ps(shares), left);
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  const __m512 turned = _mm512_permutexvar_ps(order, _mm512_add_ps(value, _mm512_set1_ps(0.5f)));
  const __m128i rounded = _mm512_cvtepi32_epi8(_mm512_cvttps_epi32(turned));
  const int few[3] = {_mm_cvtsi128_si32(rounded), _mm_extract_epi32(rounded, 1), _mm_extract_epi32(rounded, 2)};
  for (int channel = 0; channel < 3; ++channel) std::memcpy(to[channel], &few[channel], 4);
#else
  for (int i = 0; i < 4; ++i) {
    const Four left = load(row + place[i]), right = load(row + place[i] + 3);
    const Four value = left + (right - left) * shares[4 * i] + 0.5f;
    for (int channel = 0; channel < 3; ++channel) to[channel][i] = static_cast<byte>(value[channel]);
  }
#endif
}

#if defined(__AVX512BW__)
const int kWide = 16;

// Sixteen columns likewise. `shares` come in the order in which columns are taken: 0, 4, 8, 12, then 1, 5, 9, 13, ...
void blend_wide(const float* row, const int* place, const float* shares, byte* const (&to)[3]) {
  const auto gather = [](const float* from, const int* at) {
    __m512 four = _mm512_castps128_ps512(_mm_loadu_ps(from + at[0]));
    // Masked loads take turns at two ports, insertions wait for one.
    four = _mm512_mask_broadcast_f32x4(four, 0x00f0, _mm_loadu_ps(from + at[4]));
    four = _mm512_mask_broadcast_f32x4(four, 0x0f00, _mm_loadu_ps(from + at[8]));
    return _mm512_mask_broadcast_f32x4(four, 0xf000, _mm_loadu_ps(from + at[12]));
  };
  __m512i rounded[4];
  for (int i = 0; i < 4; ++i) {
    const __m512 left = gather(row, place + i), right = gather(row + 3, place + i);
    const __m512 value = _mm512_fmadd_ps(_mm512_sub_ps(right, left), _mm512_loadu_ps(shares + 16 * i), left);
    rounded[i] = _mm512_cvttps_epi32(_mm512_add_ps(value, _mm512_set1_ps(0.5f)));
  }
  // Four neighbouring columns lie in each quarter now, channel by channel after the first order, by plane after both.
  const __m512i bytes = _mm512_packus_epi16(_mm512_packus_epi32(rounded[0], rounded[1]),
                                            _mm512_packus_epi32(rounded[2], rounded[3]));
  const __m512i by_channel = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
  const __m512i by_plane = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  const __m512i turned = _mm512_permutexvar_epi32(by_plane, _mm512_shuffle_epi8(bytes, by_channel));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to[0]), _mm512_castsi512_si128(turned));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to[1]), _mm512_extracti32x4_epi32(turned, 1));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to[2]), _mm512_extracti32x4_epi32(turned, 2));
}
#else
const int kWide = 4;

void blend_wide(const float* row, const int* place, const float* shares, byte* const (&to)[3]) {
  blend_four(row, place, shares, to);
}
#endif

// Two rows of bytes into one of floats. Left to itself the compiler takes half the width of the vectors there are.
void blend_rows(const byte* upper, const byte* lower, int count, float share, float* blended) {
  int i = 0;
#if defined(__AVX512F__)
  const auto floats = [](const byte* from) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes));
  };
  for (; i + 16 <= count; i += 16) {
    const __m512 above = floats(upper + i), below = floats(lower + i);
    _mm512_storeu_ps(blended + i, _mm512_fmadd_ps(_mm512_sub_ps(below, above), _mm512_set1_ps(share), above));
  }
#endif
  for (; i < count; ++i) blended[i] = mix(float(upper[i]), float(lower[i]), share);
}

// A packed picture's window in bytes. Both axes are independent, so that each output row is first blended from
// two source rows, which are contiguous, and then from its columns. That is several times faster than by pixels.
void crop_packed(const Picture& picture, const CropWindow& window, int height, int width, byte* planes) {
  const int64_t pixels = static_cast<int64_t>(height) * width;
  const int begin = window.first, end = window.last;
  if (begin > 0 || end < width) std::memset(planes, 0, 3 * pixels);
  if (begin >= end) return;
  const bool black = window.black_outside;
  const Taps across(width, window.scale_x, window.offset_x, window.left, window.right, black);
  const Taps down(height, window.scale_y, window.offset_y, window.top, window.bottom, black);
  const int low = across.first[begin], high = across.first[end - 1] + 2;
  const int from = low > window.left ? low : window.left, to = high < window.right ? high : window.right;
  if (from >= to) {
    std::memset(planes, 0, 3 * pixels);
    return;
  }
  const int bytes = 3 * (to - from);
  const std::vector<byte> nothing(bytes, 0);
  std::vector<float> row(3 * (high - low) + 1, 0.0f), shares(4 * width);
  std::vector<int> place(width);
  const int wide_end = begin + (end - begin) / kWide * kWide;
  for (int x = begin; x < end; ++x) {
    place[x] = 3 * (across.first[x] - low);
    const int column = x - begin, block = column / kWide * kWide, step = kWide / 4;
    // Within a block every `step`-th column comes next to each other.
    const int turn = x < wide_end ? block + column % step * 4 + column % kWide / step : column;
    for (int lane = 0; lane < 4; ++lane) shares[4 * (begin + turn) + lane] = across.share[x];
  }
  const auto source = [&](int y) {
    if (!black) y = y < window.bottom ? y : window.bottom - 1;
    const bool outside = y < window.top || y >= window.bottom;
    return outside ? nothing.data() : picture.data + static_cast<int64_t>(y) * picture.pitch + 3 * from;
  };
  const int red_plane = picture.format == kRgb ? 0 : 2;  // where the first channel of the picture goes
  for (int y = 0; y < height; ++y) {
    const byte *upper = source(down.first[y]), *lower = source(down.first[y] + 1);
    const float share = down.share[y];
    float* __restrict blended = row.data() + 3 * (from - low);
    blend_rows(upper, lower, bytes, share, blended);
    // Where the picture's edge is repeated the second column may lie beyond it: its share is 0 there.
    byte* const out = planes + static_cast<int64_t>(y) * width;
    byte* const planes_of[3] = {out + red_plane * pixels, out + pixels, out + (2 - red_plane) * pixels};
    int x = begin;
    for (; x < wide_end; x += kWide) {
      byte* const to[3] = {planes_of[0] + x, planes_of[1] + x, planes_of[2] + x};
      blend_wide(row.data(), &place[x], &shares[4 * x], to);
    }
    for (; x + 4 <= end; x += 4) {
      byte* const to[3] = {planes_of[0] + x, planes_of[1] + x, planes_of[2] + x};
      blend_four(row.data(), &place[x], &shares[4 * x], to);
    }
    for (; x < end; ++x) {
      const float* const pixel = row.data() + place[x];
      for (int channel = 0; channel < 3; ++channel) {
        planes_of[channel][x] = static_cast<byte>(mix(pixel[channel], pixel[channel + 3], across.share[x]) + 0.5f);
      }
    }
  }
}

void crop_by_pixel(const Picture& picture, const CropWindow& window, int height, int width, bool half,
                   const float* gain, const float* bias, void* planes) {
  const int64_t pixels = static_cast<int64_t>(height) * width;
  for (int row = 0; row < height; ++row) {
    for (int column = 0; column < width; ++column) {
      const Colour colour = crop_pixel(picture, window, row, column);
      const float values[3] = {colour.red, colour.green, colour.blue};
      const int64_t at = static_cast<int64_t>(row) * width + column;
      for (int channel = 0; channel < 3; ++channel) {
        if (half) {
          static_cast<half_bits*>(planes)[at + channel * pixels] =
              float_to_half(values[channel] * gain[channel] + bias[channel]);
        } else {
          static_cast<byte*>(planes)[at + channel * pixels] = to_byte(values[channel]);
        }
      }
    }
  }
}

}  // namespace

// crops: [n, 3, height, width], uint8 RGB, or float16 as value * gain + bias when `half` is set.
extern "C" void gaitstream_crop(const Picture* pictures, const CropWindow* windows, int64_t n, int32_t height,
                                int32_t width, int32_t half, const float* gain, const float* bias, void* crops,
                                int32_t threads) {
  const int64_t bytes = static_cast<int64_t>(3) * height * width * (half ? 2 : 1);
  const auto one = [&](int64_t i) {
    const Picture& picture = pictures[windows[i].picture];
    byte* planes = static_cast<byte*>(crops) + i * bytes;
    if (picture.format == kNv12 || half) {
      crop_by_pixel(picture, windows[i], height, width, half, gain, bias, planes);
    } else {
      crop_packed(picture, windows[i], height, width, planes);
    }
  };
  std::atomic<int64_t> next{0};
  const auto loop = [&] {
    for (int64_t i = next++; i < n; i = next++) one(i);
  };
  std::vector<std::thread> others;
  for (int64_t i = 1; i < std::min<int64_t>(threads, n / kWorthAThread); ++i) others.emplace_back(loop);
  loop();
  for (std::thread& other : others) other.join();
}

extern "C" int gaitstream_crop_window_bytes() { return static_cast<int>(sizeof(CropWindow)); }
extern "C" int gaitstream_picture_bytes() { return static_cast<int>(sizeof(Picture)); }

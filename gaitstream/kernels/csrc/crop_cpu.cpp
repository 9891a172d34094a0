// Crops on the CPU, from the mathematics of crop_math.cuh.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <thread>
#include <vector>

#if defined(__AVX512BW__)
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

#if defined(__AVX512BW__)
// Fixed point, in which a vector holds twice as many values: a blended row in 1/128 of a level, a column's share in
// 1/16384. Both together are off by a hundredth of a level.
typedef int16_t Part;
typedef int Share;  // a column's own weight and its neighbour's, as one pair of 16 bits
const int kWide = 16;
const int kPartBits = 7, kShareBits = 14, kBits = kPartBits + kShareBits;

Share share_of(float share) {
  const int second = static_cast<int>(share * (1 << kShareBits) + 0.5f);
  return second << 16 | ((1 << kShareBits) - second);
}

byte blend_pixel(Part left, Part right, Share share) {
  return static_cast<byte>((left * (share & 0xffff) + right * (share >> 16) + (1 << (kBits - 1))) >> kBits);
}

// Sixteen columns of an output row, rounded: the two pixels of each lie at `place` of `row` and beside it. `shares` come
// four times each, in the order in which columns are taken: 0, 4, 8, 12, then 1, 5, 9, 13, ... A column is four bytes, the
// last of them without a meaning.
__m512i blend_columns(const Part* row, const int* place, const Share* shares) {
  const auto load = [&](int column) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(row + place[column])); };
  // Both pixels are one load; each channel of the first comes beside its like of the second.
  const __m512i pairs = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 1, 6, 7, 2, 3, 8, 9, 4, 5, 10, 11, 12, 13, 14, 15));
  __m512i rounded[4];
  for (int i = 0; i < 4; ++i) {
    __m512i four = _mm512_castsi128_si512(load(i));
    // Masked loads take turns at two ports, insertions wait for one.
    four = _mm512_mask_broadcast_i32x4(four, 0x00f0, load(i + 4));
    four = _mm512_mask_broadcast_i32x4(four, 0x0f00, load(i + 8));
    four = _mm512_mask_broadcast_i32x4(four, 0xf000, load(i + 12));
    const __m512i sums = _mm512_madd_epi16(_mm512_shuffle_epi8(four, pairs), _mm512_loadu_si512(shares + 16 * i));
    rounded[i] = _mm512_srai_epi32(_mm512_add_epi32(sums, _mm512_set1_epi32(1 << (kBits - 1))), kBits);
  }
  return _mm512_packus_epi16(_mm512_packus_epi32(rounded[0], rounded[1]), _mm512_packus_epi32(rounded[2], rounded[3]));
}

// Sixteen columns of an output row, as `blend_columns` takes them; the channels go to three planes.
void blend_wide(const Part* row, const int* place, const Share* shares, byte* const (&to)[3]) {
  const __m512i bytes = blend_columns(row, place, shares);
  // Four neighbouring columns lie in each quarter, channel by channel after the first order, by plane after both.
  const __m512i by_channel = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
  const __m512i by_plane = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  const __m512i turned = _mm512_permutexvar_epi32(by_plane, _mm512_shuffle_epi8(bytes, by_channel));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to[0]), _mm512_castsi512_si128(turned));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to[1]), _mm512_extracti32x4_epi32(turned, 1));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to[2]), _mm512_extracti32x4_epi32(turned, 2));
}

// The same, to `to` as they are: three bytes each.
void blend_packed(const Part* row, const int* place, const Share* shares, byte* to) {
  const __m512i three = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1));
  const __m512i side_by_side = _mm512_setr_epi32(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, 3, 7, 11, 15);
  const __m512i bytes = _mm512_shuffle_epi8(blend_columns(row, place, shares), three);
  _mm512_mask_storeu_epi32(to, 0x0fff, _mm512_permutexvar_epi32(side_by_side, bytes));
}

// Two rows of bytes into one.
void blend_rows(const byte* upper, const byte* lower, int count, float share, Part* blended) {
  const int whole = 1 << 15;
  const int weight = std::min(static_cast<int>(share * whole + 0.5f), whole - 1);
  const auto parts = [](const byte* from) {
    const __m256i bytes = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
    return _mm512_slli_epi16(_mm512_cvtepu8_epi16(bytes), kPartBits);
  };
  int i = 0;
  for (; i + 32 <= count; i += 32) {
    const __m512i above = parts(upper + i), more = _mm512_sub_epi16(parts(lower + i), above);
    const __m512i value = _mm512_add_epi16(above, _mm512_mulhrs_epi16(more, _mm512_set1_epi16(weight)));
    _mm512_storeu_si512(blended + i, value);
  }
  for (; i < count; ++i) {
    const int above = upper[i] << kPartBits, more = (lower[i] << kPartBits) - above;
    blended[i] = static_cast<Part>(above + ((more * weight + whole / 2) >> 15));
  }
}
#else
typedef float Part;
typedef float Share;
const int kWide = 4;

Share share_of(float share) { return share; }

byte blend_pixel(Part left, Part right, Share share) { return static_cast<byte>(mix(left, right, share) + 0.5f); }

// What four neighbouring floats of an interleaved row hold: a pixel, and the next one's first channel.
typedef float Four __attribute__((vector_size(16)));

Four load(const float* from) {
  Four value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

// Four columns of an output row: the two pixels of each lie at `place` of `row` and beside it, `shares` are the second
// one's, once per channel. The channels go to three planes, rounded.
void blend_wide(const Part* row, const int* place, const Share* shares, byte* const (&to)[3]) {
  for (int i = 0; i < 4; ++i) {
    const Four left = load(row + place[i]), right = load(row + place[i] + 3);
    const Four value = left + (right - left) * shares[4 * i] + 0.5f;
    for (int channel = 0; channel < 3; ++channel) to[channel][i] = static_cast<byte>(value[channel]);
  }
}

// Two rows of bytes into one.
void blend_rows(const byte* upper, const byte* lower, int count, float share, Part* blended) {
  for (int i = 0; i < count; ++i) blended[i] = mix(float(upper[i]), float(lower[i]), share);
}
#endif

// Where the output columns from `begin` to `end` read in a row that starts at source column `low`, and how much of what.
struct Columns {
  std::vector<int> place;
  std::vector<Share> shares;
  int wide_end;  // from here on they are taken one by one

  Columns(const Taps& across, int begin, int end, int low)
      : place(end), shares(4 * static_cast<size_t>(end)), wide_end(begin + (end - begin) / kWide * kWide) {
    for (int x = begin; x < end; ++x) {
      place[x] = 3 * (across.first[x] - low);
      const int column = x - begin, block = column / kWide * kWide, step = kWide / 4;
      // Within a block every `step`-th column comes next to each other.
      const int turn = x < wide_end ? block + column % step * 4 + column % kWide / step : column;
      for (int lane = 0; lane < 4; ++lane) shares[4 * (begin + turn) + lane] = share_of(across.share[x]);
    }
  }
};

// Rows of a window lie so far apart that no CPU fetches the next ones by itself.
const int kAhead = 8;

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
  std::vector<Part> row(3 * (high - low) + 2, Part(0));  // what a load of the last pair reads beyond it
  const Columns columns(across, begin, end, low);
  const auto source = [&](int y) {
    if (!black) y = y < window.bottom ? y : window.bottom - 1;
    const bool outside = y < window.top || y >= window.bottom;
    return outside ? nothing.data() : picture.data + static_cast<int64_t>(y) * picture.pitch + 3 * from;
  };
  const int red_plane = picture.format == kRgb ? 0 : 2;  // where the first channel of the picture goes
  for (int y = 0; y < height; ++y) {
    const byte *upper = source(down.first[y]), *lower = source(down.first[y] + 1);
    if (y + kAhead < height) {
      const byte* const coming = source(down.first[y + kAhead]);
      for (int i = 0; i < bytes; i += 64) __builtin_prefetch(coming + i);
    }
    const float share = down.share[y];
    Part* __restrict blended = row.data() + 3 * (from - low);
    blend_rows(upper, lower, bytes, share, blended);
    // Where the picture's edge is repeated the second column may lie beyond it: its share is 0 there.
    byte* const out = planes + static_cast<int64_t>(y) * width;
    byte* const planes_of[3] = {out + red_plane * pixels, out + pixels, out + (2 - red_plane) * pixels};
    int x = begin;
    for (; x < columns.wide_end; x += kWide) {
      byte* const to[3] = {planes_of[0] + x, planes_of[1] + x, planes_of[2] + x};
      blend_wide(row.data(), &columns.place[x], &columns.shares[4 * x], to);
    }
    for (; x < end; ++x) {
      const Part* const pixel = row.data() + columns.place[x];
      for (int channel = 0; channel < 3; ++channel) {
        planes_of[channel][x] = blend_pixel(pixel[channel], pixel[channel + 3], share_of(across.share[x]));
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

// A packed picture at another size, bilinear with half-pixel centres; rows lie `pitch` and `out_pitch` bytes apart. 0 where
// this library has no wide registers: then OpenCV is as fast.
extern "C" int gaitstream_resize(const byte* picture, int64_t pitch, int32_t height, int32_t width, byte* out,
                                 int64_t out_pitch, int32_t out_height, int32_t out_width) {
#if defined(__AVX512BW__)
  const float scale_x = static_cast<float>(width) / out_width, scale_y = static_cast<float>(height) / out_height;
  const Taps across(out_width, scale_x, 0.5f * scale_x - 0.5f, 0, width, false);
  const Taps down(out_height, scale_y, 0.5f * scale_y - 0.5f, 0, height, false);
  const Columns columns(across, 0, out_width, 0);
  const int bytes = 3 * width;
  std::vector<Part> row(bytes + 8, Part(0));  // what a load of the last pair reads beyond it
  const auto source = [&](int y) { return picture + static_cast<int64_t>(std::min(y, height - 1)) * pitch; };
  for (int y = 0; y < out_height; ++y) {
    blend_rows(source(down.first[y]), source(down.first[y] + 1), bytes, down.share[y], row.data());
    byte* const to = out + y * out_pitch;
    int x = 0;
    for (; x < columns.wide_end; x += kWide) blend_packed(row.data(), &columns.place[x], &columns.shares[4 * x], to + 3 * x);
    for (; x < out_width; ++x) {
      const Part* const pixel = row.data() + columns.place[x];
      const Share share = share_of(across.share[x]);
      for (int channel = 0; channel < 3; ++channel) to[3 * x + channel] = blend_pixel(pixel[channel], pixel[channel + 3], share);
    }
  }
  return 1;
#else
  (void)picture, (void)pitch, (void)height, (void)width, (void)out, (void)out_pitch, (void)out_height, (void)out_width;
  return 0;
#endif
}

extern "C" int gaitstream_crop_window_bytes() { return static_cast<int>(sizeof(CropWindow)); }
extern "C" int gaitstream_picture_bytes() { return static_cast<int>(sizeof(Picture)); }

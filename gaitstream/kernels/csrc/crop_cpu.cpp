// Crops on the CPU, from the mathematics of crop_math.cuh.
#include <cmath>
#include <cstring>
#include <vector>

#include "crop_math.cuh"

using namespace gaitstream;

namespace {

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

// A packed picture's window in bytes. Both axes are independent, so that each output row is first blended from
// two source rows, which are contiguous, and then from its columns. That is several times faster than by pixels.
void crop_packed(const Picture& picture, const CropWindow& window, int height, int width, byte* planes) {
  const int64_t pixels = static_cast<int64_t>(height) * width;
  const int begin = window.first, end = window.last;
  std::memset(planes, 0, 3 * pixels);
  if (begin >= end) return;
  const bool black = window.black_outside;
  const Taps across(width, window.scale_x, window.offset_x, window.left, window.right, black);
  const Taps down(height, window.scale_y, window.offset_y, window.top, window.bottom, black);
  const int low = across.first[begin], high = across.first[end - 1] + 2;
  const int from = low > window.left ? low : window.left, to = high < window.right ? high : window.right;
  if (from >= to) return;
  const int bytes = 3 * (to - from);
  const std::vector<byte> nothing(bytes, 0);
  std::vector<float> row(3 * (high - low) + 1, 0.0f), mixed(4 * width);
  const auto source = [&](int y) {
    if (!black) y = y < window.bottom ? y : window.bottom - 1;
    const bool outside = y < window.top || y >= window.bottom;
    return outside ? nothing.data() : picture.data + static_cast<int64_t>(y) * picture.pitch + 3 * from;
  };
  const int red = picture.format == kRgb ? 0 : 2;
  for (int y = 0; y < height; ++y) {
    const byte *upper = source(down.first[y]), *lower = source(down.first[y] + 1);
    const float share = down.share[y];
    float* blended = row.data() + 3 * (from - low);
    for (int i = 0; i < bytes; ++i) blended[i] = mix(float(upper[i]), float(lower[i]), share);
    // Where the picture's edge is repeated the second column may lie beyond it: its share is 0 there.
    for (int x = begin; x < end; ++x) {
      const float* pixel = row.data() + 3 * (across.first[x] - low);
      const Four left = load(pixel), right = load(pixel + 3);
      const Four value = left + (right - left) * across.share[x];
      std::memcpy(&mixed[4 * x], &value, sizeof value);
    }
    for (int channel = 0; channel < 3; ++channel) {
      const float* values = mixed.data() + (channel == 1 ? 1 : channel == 0 ? red : 2 - red);
      byte* out = planes + channel * pixels + static_cast<int64_t>(y) * width;
      for (int x = begin; x < end; ++x) out[x] = static_cast<byte>(values[4 * x] + 0.5f);
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
                                int32_t width, int32_t half, const float* gain, const float* bias, void* crops) {
  const int64_t bytes = static_cast<int64_t>(3) * height * width * (half ? 2 : 1);
  for (int64_t i = 0; i < n; ++i) {
    const Picture& picture = pictures[windows[i].picture];
    byte* planes = static_cast<byte*>(crops) + i * bytes;
    if (picture.format == kNv12 || half) {
      crop_by_pixel(picture, windows[i], height, width, half, gain, bias, planes);
    } else {
      crop_packed(picture, windows[i], height, width, planes);
    }
  }
}

extern "C" int gaitstream_crop_window_bytes() { return static_cast<int>(sizeof(CropWindow)); }
extern "C" int gaitstream_picture_bytes() { return static_cast<int>(sizeof(Picture)); }

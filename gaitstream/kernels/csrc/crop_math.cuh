// Cutting people out of camera pictures: the mathematics, once, for the GPU and the CPU.
//
// Both crop rules are one affine read per output pixel, bilinear with half-pixel centres; they differ in
// what lies outside. The windows are found on the host (a few numbers per person), so that a rule can be
// changed without touching a kernel.
#ifndef GAITSTREAM_CROP_MATH_CUH
#define GAITSTREAM_CROP_MATH_CUH

#include "pgha_math.cuh"

namespace gaitstream {

typedef unsigned char byte;

enum PixelFormat { kRgb = 0, kBgr = 1, kNv12 = 2 };
enum Colourimetry { kBt601 = 0, kBt709 = 1 };

// A picture; `chroma` is the second plane of NV12.
struct Picture {
  const byte* data;
  const byte* chroma;
  int pitch, chroma_pitch;  // bytes from row to row
  int width, height;
  int format, colourimetry;
};

// Where one crop reads: output pixel (row, column) lies at (column * scale_x + offset_x, ...) of the picture.
struct CropWindow {
  float scale_x, offset_x, scale_y, offset_y;
  int left, top, right, bottom;  // what may be read, right and bottom excluded
  int first, last;               // output columns with a picture, last excluded; the others are black
  int black_outside;             // reads outside the rectangle: black, or the nearest pixel inside
  int picture;
};

struct Colour {
  float red, green, blue;
};

GS_FN float clamp_byte(float value) { return value > 0.0f ? (value < 255.0f ? value : 255.0f) : 0.0f; }

// Limited-range YCbCr, chroma of the 2 x 2 block; rounded to whole values as a converted picture would be.
GS_FN Colour from_yuv(float luma, float cb, float cr, int colourimetry) {
  const float y = 1.16438356f * (luma - 16.0f), u = cb - 128.0f, v = cr - 128.0f;
  const bool hd = colourimetry == kBt709;
  Colour colour;
  colour.red = floorf(clamp_byte(y + (hd ? 1.79274107f : 1.59602678f) * v) + 0.5f);
  colour.green =
      floorf(clamp_byte(y - (hd ? 0.21324861f : 0.39176229f) * u - (hd ? 0.53290933f : 0.81296765f) * v) + 0.5f);
  colour.blue = floorf(clamp_byte(y + (hd ? 2.11240179f : 2.01723214f) * u) + 0.5f);
  return colour;
}

GS_FN Colour read_pixel(const Picture& picture, int x, int y) {
  if (picture.format == kNv12) {
    const byte* pair = picture.chroma + static_cast<long long>(y / 2) * picture.chroma_pitch + (x & ~1);
    const byte luma = picture.data[static_cast<long long>(y) * picture.pitch + x];
    return from_yuv(luma, pair[0], pair[1], picture.colourimetry);
  }
  const byte* at = picture.data + static_cast<long long>(y) * picture.pitch + 3 * x;
  Colour colour;
  colour.red = at[picture.format == kRgb ? 0 : 2];
  colour.green = at[1];
  colour.blue = at[picture.format == kRgb ? 2 : 0];
  return colour;
}

GS_FN Colour read_or_black(const Picture& picture, const CropWindow& window, int x, int y) {
  if (x < window.left || x >= window.right || y < window.top || y >= window.bottom) return Colour{0.0f, 0.0f, 0.0f};
  return read_pixel(picture, x, y);
}

GS_FN float within(float value, int low, int high) {
  const float first = static_cast<float>(low), last = static_cast<float>(high - 1);
  return value > first ? (value < last ? value : last) : first;
}

GS_FN Colour mix(const Colour& a, const Colour& b, float share) {
  return Colour{mix(a.red, b.red, share), mix(a.green, b.green, share), mix(a.blue, b.blue, share)};
}

// One output pixel, RGB in 0..255.
GS_FN Colour crop_pixel(const Picture& picture, const CropWindow& window, int row, int column) {
  if (column < window.first || column >= window.last) return Colour{0.0f, 0.0f, 0.0f};
  float x = static_cast<float>(column) * window.scale_x + window.offset_x;
  float y = static_cast<float>(row) * window.scale_y + window.offset_y;
  if (window.black_outside) {  // one pixel of margin keeps the casts below in range
    x = within(x, window.left - 1, window.right + 1);
    y = within(y, window.top - 1, window.bottom + 1);
  } else {
    x = within(x, window.left, window.right);
    y = within(y, window.top, window.bottom);
  }
  const float floor_x = floorf(x), floor_y = floorf(y);
  const int left = static_cast<int>(floor_x), top = static_cast<int>(floor_y);
  int right = left + 1, bottom = top + 1;
  if (!window.black_outside) {
    right = right < window.right ? right : window.right - 1;
    bottom = bottom < window.bottom ? bottom : window.bottom - 1;
  }
  const Colour upper = mix(read_or_black(picture, window, left, top), read_or_black(picture, window, right, top),
                           x - floor_x);
  const Colour lower = mix(read_or_black(picture, window, left, bottom),
                           read_or_black(picture, window, right, bottom), x - floor_x);
  return mix(upper, lower, y - floor_y);
}

GS_FN byte to_byte(float value) { return static_cast<byte>(clamp_byte(value) + 0.5f); }

}  // namespace gaitstream

#endif

// Crops on the CPU, from the mathematics of crop_math.cuh.
#include "crop_math.cuh"

using namespace gaitstream;

// crops: [n, 3, height, width], uint8 RGB, or float16 as value * gain + bias when `half` is set.
extern "C" void gaitstream_crop(const Picture* pictures, const CropWindow* windows, int64_t n, int32_t height,
                                int32_t width, int32_t half, const float* gain, const float* bias, void* crops) {
  const int64_t pixels = static_cast<int64_t>(height) * width;
  for (int64_t i = 0; i < n; ++i) {
    const CropWindow& window = windows[i];
    const Picture& picture = pictures[window.picture];
    for (int row = 0; row < height; ++row) {
      for (int column = 0; column < width; ++column) {
        const Colour colour = crop_pixel(picture, window, row, column);
        const float values[3] = {colour.red, colour.green, colour.blue};
        const int64_t at = i * 3 * pixels + row * width + column;
        for (int channel = 0; channel < 3; ++channel) {
          if (half) {
            static_cast<half_bits*>(crops)[at + channel * pixels] =
                float_to_half(values[channel] * gain[channel] + bias[channel]);
          } else {
            static_cast<byte*>(crops)[at + channel * pixels] = to_byte(values[channel]);
          }
        }
      }
    }
  }
}

extern "C" int gaitstream_crop_window_bytes() { return static_cast<int>(sizeof(CropWindow)); }
extern "C" int gaitstream_picture_bytes() { return static_cast<int>(sizeof(Picture)); }

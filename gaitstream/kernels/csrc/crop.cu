// Crops on the GPU: person windows on RGB, BGR or NV12 pictures -> model inputs [n, 3, height, width].
#include "crop_math.cuh"

using namespace gaitstream;

namespace gaitstream {

// The Python launcher mirrors this layout.
struct CropParams {
  const Picture* pictures;
  const CropWindow* windows;  // [n]
  void* crops;                // [n, 3, height, width], uint8 or float16, RGB
  float gain[3], bias[3];     // float16 only: value * gain + bias, value in 0..255
  int height, width;
};

}  // namespace gaitstream

// One thread makes one output pixel of all three channels; grid (pixels, crops).
template <class Out, class Convert>
__device__ __forceinline__ void crop_block(const CropParams& job, Out* crops, const Convert& convert) {
  const int pixel = blockIdx.x * blockDim.x + threadIdx.x, pixels = job.height * job.width;
  if (pixel >= pixels) return;
  const CropWindow window = job.windows[blockIdx.y];
  const Colour colour = crop_pixel(job.pictures[window.picture], window, pixel / job.width, pixel % job.width);
  Out* out = crops + static_cast<long long>(blockIdx.y) * 3 * pixels + pixel;
  out[0] = convert(colour.red, 0);
  out[pixels] = convert(colour.green, 1);
  out[2 * pixels] = convert(colour.blue, 2);
}

struct AsByte {
  __device__ __forceinline__ byte operator()(float value, int) const { return to_byte(value); }
};

struct AsHalf {
  const CropParams& job;
  __device__ __forceinline__ half_bits operator()(float value, int channel) const {
    return float_to_half(value * job.gain[channel] + job.bias[channel]);
  }
};

extern "C" __global__ void __launch_bounds__(256) crop_u8(const __grid_constant__ CropParams job) {
  crop_block(job, static_cast<byte*>(job.crops), AsByte{});
}

extern "C" __global__ void __launch_bounds__(256) crop_f16(const __grid_constant__ CropParams job) {
  crop_block(job, static_cast<half_bits*>(job.crops), AsHalf{job});
}

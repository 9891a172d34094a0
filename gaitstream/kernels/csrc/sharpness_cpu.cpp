// How sharp a person's picture is: the variance of the Laplacian of a small grey copy, in one pass over the box.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

namespace {

// Shares of the source pixels in each of `count` equal pieces of an axis, as shrinking by area takes them.
struct Pieces {
  std::vector<int> first, last;     // of each piece, last included
  std::vector<float> head, tail;    // share of the first and of the last pixel; those between count whole
  float inverse;                    // 1 / pixels in a piece

  Pieces(int size, int count) : first(count), last(count), head(count), tail(count) {
    const double scale = static_cast<double>(size) / count;
    inverse = static_cast<float>(1.0 / scale);
    for (int i = 0; i < count; ++i) {
      const double low = i * scale, high = std::min((i + 1) * scale, static_cast<double>(size));
      first[i] = std::min(static_cast<int>(low + 1e-6), size - 1);
      last[i] = std::min(std::max(static_cast<int>(std::ceil(high - 1e-6)) - 1, first[i]), size - 1);
      head[i] = static_cast<float>(std::min<double>(first[i] + 1, high) - low);
      tail[i] = first[i] == last[i] ? 0.0f : static_cast<float>(high - last[i]);
    }
  }
};

// Grey of BGR, rounded, with the weights of ITU-R BT.601 in 14 bits: what OpenCV's conversion gives.
void add_grey(const uint8_t* row, int width, float share, float* sums) {
  for (int x = 0; x < width; ++x) {
    const int grey = (row[3 * x] * 1868 + row[3 * x + 1] * 9617 + row[3 * x + 2] * 4899 + 8192) >> 14;
    sums[x] += share * static_cast<float>(grey);
  }
}

// A border pixel's neighbour beyond the border is the one before it.
int inside(int i, int size) { return i < 0 ? std::min(1, size - 1) : i >= size ? std::max(size - 2, 0) : i; }

}  // namespace

// BGR box of `width` x `height` pixels, rows `pitch` bytes apart, shrunk to `columns` x `rows`.
extern "C" double gaitstream_sharpness(const uint8_t* box, int64_t pitch, int32_t width, int32_t height, int32_t columns,
                                       int32_t rows) {
  const Pieces down(height, rows), across(width, columns);
  std::vector<float> sums(width);
  std::vector<int> small(static_cast<size_t>(rows) * columns);
  for (int r = 0; r < rows; ++r) {
    std::fill(sums.begin(), sums.end(), 0.0f);
    for (int y = down.first[r]; y <= down.last[r]; ++y) {
      const float share = y == down.first[r] ? down.head[r] : y == down.last[r] ? down.tail[r] : 1.0f;
      add_grey(box + y * pitch, width, share, sums.data());
    }
    for (int c = 0; c < columns; ++c) {
      float sum = across.head[c] * sums[across.first[c]] + across.tail[c] * sums[across.last[c]];
      for (int x = across.first[c] + 1; x < across.last[c]; ++x) sum += sums[x];
      small[r * columns + c] = static_cast<int>(std::lrintf(sum * down.inverse * across.inverse));
    }
  }
  int64_t total = 0, squares = 0;
  for (int r = 0; r < rows; ++r) {
    const int *above = &small[inside(r - 1, rows) * columns], *here = &small[r * columns],
              *below = &small[inside(r + 1, rows) * columns];
    for (int c = 0; c < columns; ++c) {
      const int value = above[c] + below[c] + here[inside(c - 1, columns)] + here[inside(c + 1, columns)] - 4 * here[c];
      total += value;
      squares += static_cast<int64_t>(value) * value;
    }
  }
  const double count = static_cast<double>(rows) * columns, mean = total / count;
  return squares / count - mean * mean;
}

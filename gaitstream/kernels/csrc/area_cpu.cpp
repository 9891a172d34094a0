// What is made of a person's picture shrunk by area, in one pass over the box: how sharp it is (the variance of the
// Laplacian of a small grey copy), and the mean colours of a few cells.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>
#if defined(__AVX512BW__)
#include <immintrin.h>
#endif

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
  int x = 0;
#if defined(__AVX512BW__)
  // Sixteen pixels: four of them, twelve bytes, to each quarter of a register; channels as pairs of 16-bit numbers.
  const __m512i blue_green = _mm512_broadcast_i32x4(
      _mm_setr_epi8(0, -1, 1, -1, 3, -1, 4, -1, 6, -1, 7, -1, 9, -1, 10, -1));
  const __m512i red_one = _mm512_broadcast_i32x4(
      _mm_setr_epi8(2, -1, -1, -1, 5, -1, -1, -1, 8, -1, -1, -1, 11, -1, -1, -1));
  const __m512i one = _mm512_set1_epi32(1 << 16);
  for (; 3 * x + 52 <= 3 * width; x += 16) {  // the last quarter's load reaches four bytes further
    const auto four = [&](int i) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(row + 3 * x + 12 * i)); };
    __m512i pixels = _mm512_castsi128_si512(four(0));
    pixels = _mm512_inserti32x4(pixels, four(1), 1);
    pixels = _mm512_inserti32x4(pixels, four(2), 2);
    pixels = _mm512_inserti32x4(pixels, four(3), 3);
    const __m512i bg = _mm512_madd_epi16(_mm512_shuffle_epi8(pixels, blue_green), _mm512_set1_epi32(9617 << 16 | 1868));
    const __m512i r1 = _mm512_madd_epi16(_mm512_or_si512(_mm512_shuffle_epi8(pixels, red_one), one),
                                         _mm512_set1_epi32(8192 << 16 | 4899));
    const __m512 grey = _mm512_cvtepi32_ps(_mm512_srai_epi32(_mm512_add_epi32(bg, r1), 14));
    _mm512_storeu_ps(sums + x, _mm512_fmadd_ps(grey, _mm512_set1_ps(share), _mm512_loadu_ps(sums + x)));
  }
#endif
  for (; x < width; ++x) {
    const int grey = (row[3 * x] * 1868 + row[3 * x + 1] * 9617 + row[3 * x + 2] * 4899 + 8192) >> 14;
    sums[x] += share * static_cast<float>(grey);
  }
}

// Rows of a box lie so far apart that no CPU fetches the next ones by itself.
const int kAhead = 8;

void fetch(const uint8_t* row, int bytes) {
  for (int i = 0; i < bytes + 63; i += 64) __builtin_prefetch(row + std::min(i, bytes - 1));
}

void add_bytes(const uint8_t* __restrict row, int count, float share, float* __restrict sums) {
  for (int i = 0; i < count; ++i) sums[i] += share * static_cast<float>(row[i]);
}

// Rows that count whole are summed in 16 bits, of which a register holds twice as many; this many fit.
const int kFits = 257;

void add_whole(const uint8_t* __restrict row, int count, uint16_t* __restrict sums) {
  for (int i = 0; i < count; ++i) sums[i] = static_cast<uint16_t>(sums[i] + row[i]);
}

void add_sums(std::vector<uint16_t>& whole, float* __restrict sums) {
  const uint16_t* __restrict from = whole.data();
  const int count = static_cast<int>(whole.size());
  for (int i = 0; i < count; ++i) sums[i] += static_cast<float>(from[i]);
  std::fill(whole.begin(), whole.end(), uint16_t(0));
}

// A border pixel's neighbour beyond the border is the one before it.
int inside(int i, int size) { return i < 0 ? std::min(1, size - 1) : i >= size ? std::max(size - 2, 0) : i; }

// Variance of the Laplacian of a box of `width` x `height` pixels shrunk to `columns` x `rows`.
double sharpness(const uint8_t* box, int64_t pitch, int width, int height, int columns, int rows) {
  const Pieces down(height, rows), across(width, columns);
  std::vector<float> sums(width);
  std::vector<int> small(static_cast<size_t>(rows) * columns);
  for (int r = 0; r < rows; ++r) {
    std::fill(sums.begin(), sums.end(), 0.0f);
    for (int y = down.first[r]; y <= down.last[r]; ++y) {
      const float share = y == down.first[r] ? down.head[r] : y == down.last[r] ? down.tail[r] : 1.0f;
      if (y + kAhead < height) fetch(box + (y + kAhead) * pitch, 3 * width);
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

}  // namespace

// BGR image, rows `pitch` bytes apart; boxes of at least `columns` x `rows` pixels: left, top, right, bottom, the last two
// excluded, and the columns that each is shrunk to. Writes how sharp each is.
extern "C" void gaitstream_sharpness(const uint8_t* image, int64_t pitch, const int32_t* boxes, int32_t count, int32_t rows,
                                     double* found) {
  for (int32_t n = 0; n < count; ++n) {
    const int32_t* box = boxes + 5 * n;
    const uint8_t* corner = image + box[1] * pitch + 3 * static_cast<int64_t>(box[0]);
    found[n] = sharpness(corner, pitch, box[2] - box[0], box[3] - box[1], box[4], rows);
  }
}

// BGR image, rows `pitch` bytes apart: boxes of at least `columns` x `rows` pixels (left, top, right, bottom, the last two
// excluded), each shrunk to so many cells, whose rounded means `[count, rows, columns, 3]` are written.
extern "C" void gaitstream_cells(const uint8_t* image, int64_t pitch, const int32_t* boxes, int32_t count, int32_t columns,
                                 int32_t rows, float* means) {
  std::vector<float> sums;
  std::vector<uint16_t> whole;
  for (int32_t n = 0; n < count; ++n) {
    const int32_t *box = boxes + 4 * n, width = box[2] - box[0];
    const uint8_t* corner = image + box[1] * pitch + 3 * static_cast<int64_t>(box[0]);
    const Pieces down(box[3] - box[1], rows), across(width, columns);
    sums.resize(3 * static_cast<size_t>(width));
    whole.assign(sums.size(), 0);
    for (int r = 0; r < rows; ++r) {
      std::fill(sums.begin(), sums.end(), 0.0f);
      for (int y = down.first[r]; y <= down.last[r]; ++y) {
        const uint8_t* const row = corner + y * pitch;
        if (y + kAhead < box[3] - box[1]) fetch(row + kAhead * pitch, 3 * width);
        if (y == down.first[r]) {
          add_bytes(row, 3 * width, down.head[r], sums.data());
        } else if (y == down.last[r]) {
          add_bytes(row, 3 * width, down.tail[r], sums.data());
        } else {
          add_whole(row, 3 * width, whole.data());
          if ((y - down.first[r]) % kFits == 0) add_sums(whole, sums.data());
        }
      }
      add_sums(whole, sums.data());
      for (int c = 0; c < columns; ++c) {
        const float *first = &sums[3 * across.first[c]], *last = &sums[3 * across.last[c]];
        float cell[3];
        for (int i = 0; i < 3; ++i) cell[i] = across.head[c] * first[i] + across.tail[c] * last[i];
        for (const float* at = first + 3; at < last; at += 3) {
          for (int i = 0; i < 3; ++i) cell[i] += at[i];
        }
        for (const float sum : cell) *means++ = std::nearbyint(sum * down.inverse * across.inverse);
      }
    }
  }
}

// The gallery's scan on the CPU: distances of probes to templates kept as whole numbers of 16 bits, in two planes
// of 8. The coarse plane alone says how far a template is to within a known slack, at half the bytes; both planes
// together say it for the few that matter. Layout and bounds: gaitstream/gallery/quantise.py.
#include "scan.cuh"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <thread>
#include <vector>

#if defined(__AVX512VNNI__) && defined(__AVX512BW__)
#include <immintrin.h>
#endif

using namespace gaitstream;

namespace {

struct ScanRequest {
  const uint8_t* rows;        // records of the coarse plane
  int64_t stride;             // bytes of a record
  int64_t scale_at, norm_at, slack_at;  // offsets inside a record
  int64_t first, last;        // rows to scan
  int32_t parts, width;       // width: values of a part, a multiple of 64
  const int8_t* high;         // [probes, parts, width]
  const int8_t* low;          // [probes, parts, width]
  const float* scale;         // [probes, parts]
  const float* norm;          // [probes, parts]
  const int32_t* shift;       // [probes, parts]: what the templates' offset of 128 adds to the products
  int32_t probes, threads;
  float* out;                 // [probes, last - first]: distance less the row's slack
};

struct RefineRequest {
  const uint8_t* rows;
  int64_t stride;
  int64_t scale_at;
  const int8_t* fine;         // [rows, parts * width]
  const int64_t* chosen;      // [count]
  int64_t count;
  int32_t parts, width;
  const float* probe;         // [parts, width]
  float* out;                 // [count]
  int32_t threads;
};

struct QuantiseRequest {
  const float* parts;         // [count, parts, width]
  int64_t count;
  uint8_t* rows;              // [count] records
  int64_t stride;
  int64_t scale_at, norm_at, slack_at, fine_at;
  int8_t* planes;             // [count, parts * width]
  int32_t parts_each, width;
};

const int kRows = 4;
const int64_t kScanned = 4096, kRefined = 96;  // a thread is not worth starting for less
const float kTop = 32512.0f;
const double kUp = 1 + 1e-6, kRoot = 1.0 / 1024, kHalf = 1.0 / (1 << 23);

// One part: digits, scale and |c|^2, and what is added to the two slacks.
void quantise_part(const float* x, int width, uint8_t* high, int8_t* low, float* scale, float* norm, double* slack,
                   double* fine) {
  float largest = 0.0f;
  for (int c = 0; c < width; ++c) largest = std::fmax(largest, std::fabs(x[c]));
  const float s = largest > 0.0f ? std::fmax(largest / kTop, 1e-30f) : 1.0f;
  double size = 0, off_coarse = 0, off_fine = 0, whole = 0;
  for (int c = 0; c < width; ++c) {
    const float near = std::fmin(std::fmax(std::nearbyint(x[c] / s), -kTop), kTop);
    const int value = static_cast<int>(near), upper = (value + 128) >> 8;
    high[c] = static_cast<uint8_t>(upper + 128);
    low[c] = static_cast<int8_t>(value - upper * 256);
    const double coarse = 256.0 * s * upper, exact = x[c];
    size += coarse * coarse;
    off_coarse += (exact - coarse) * (exact - coarse);
    off_fine += (exact - static_cast<double>(s) * value) * (exact - static_cast<double>(s) * value);
    whole += exact * exact;
  }
  *scale = s;
  *norm = static_cast<float>(size);
  *slack += std::sqrt(off_coarse) + kRoot * std::sqrt(size);
  *fine += std::sqrt(off_fine) + kHalf * std::sqrt(whole);
}

// 256 times the product with the high digits plus that with the low ones. Sums wrap, the result does not: it is
// below 2^31 for parts of up to 512 values.
#if defined(__AVX512VNNI__) && defined(__AVX512BW__)
int32_t sum_lanes(__m512i value) { return _mm512_reduce_add_epi32(value); }

// The sums of four vectors, transposed on the way, so that they cost little more than one.
__m128i sum_lanes(const __m512i* v) {
  const __m512i low = _mm512_add_epi32(_mm512_unpacklo_epi32(v[0], v[1]), _mm512_unpackhi_epi32(v[0], v[1]));
  const __m512i high = _mm512_add_epi32(_mm512_unpacklo_epi32(v[2], v[3]), _mm512_unpackhi_epi32(v[2], v[3]));
  const __m512i all = _mm512_add_epi32(_mm512_unpacklo_epi64(low, high), _mm512_unpackhi_epi64(low, high));
  const __m256i half = _mm256_add_epi32(_mm512_castsi512_si256(all), _mm512_extracti64x4_epi64(all, 1));
  return _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
}

template <int R>
void products(const uint8_t* const* rows, const int8_t* high, const int8_t* low, int width, int32_t* out) {
  __m512i a[R], b[R];
  for (int r = 0; r < R; ++r) a[r] = b[r] = _mm512_setzero_si512();
  for (int c = 0; c < width; c += 64) {
    const __m512i upper = _mm512_loadu_si512(high + c), lower = _mm512_loadu_si512(low + c);
    for (int r = 0; r < R; ++r) {
      const __m512i row = _mm512_loadu_si512(rows[r] + c);
      a[r] = _mm512_dpbusd_epi32(a[r], row, upper);
      b[r] = _mm512_dpbusd_epi32(b[r], row, lower);
    }
  }
  for (int r = 0; r < R; ++r) a[r] = _mm512_add_epi32(_mm512_slli_epi32(a[r], 8), b[r]);
  if constexpr (R == 4) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out), sum_lanes(a));
  } else {
    for (int r = 0; r < R; ++r) out[r] = sum_lanes(a[r]);
  }
}
#else
template <int R>
void products(const uint8_t* const* rows, const int8_t* high, const int8_t* low, int width, int32_t* out) {
  for (int r = 0; r < R; ++r) {
    const uint8_t* row = rows[r];
    int32_t a = 0, b = 0;
    for (int c = 0; c < width; ++c) {
      a += static_cast<int32_t>(row[c]) * high[c];
      b += static_cast<int32_t>(row[c]) * low[c];
    }
    out[r] = static_cast<int32_t>((static_cast<uint32_t>(a) << 8) + static_cast<uint32_t>(b));
  }
}
#endif

template <int R>
void scan_rows(const ScanRequest& ask, int64_t at, int32_t* dots) {
  const uint8_t* base[R];
  for (int r = 0; r < R; ++r) base[r] = ask.rows + (at + r) * ask.stride;
  const int64_t count = ask.last - ask.first;
  for (int k = 0; k < ask.probes; ++k) {
    const int64_t first_part = static_cast<int64_t>(k) * ask.parts;
    for (int p = 0; p < ask.parts; ++p) {
      const uint8_t* rows[R];
      for (int r = 0; r < R; ++r) rows[r] = base[r] + static_cast<int64_t>(p) * ask.width;
      const int64_t from = (first_part + p) * ask.width;
      products<R>(rows, ask.high + from, ask.low + from, ask.width, dots + p * R);
    }
    const float *scale = ask.scale + first_part, *norm = ask.norm + first_part;
    const int32_t* shift = ask.shift + first_part;
    for (int r = 0; r < R; ++r) {
      const float* theirs = reinterpret_cast<const float*>(base[r] + ask.scale_at);
      const float* square = reinterpret_cast<const float*>(base[r] + ask.norm_at);
      float sum = 0.0f;
      for (int p = 0; p < ask.parts; ++p) {
        const int32_t product = static_cast<int32_t>(static_cast<uint32_t>(dots[p * R + r]) - static_cast<uint32_t>(shift[p]));
        sum += part_distance(norm[p], square[p], scale[p], theirs[p], product);
      }
      const float slack = *reinterpret_cast<const float*>(base[r] + ask.slack_at);
      ask.out[k * count + (at + r - ask.first)] = sum / ask.parts - slack;
    }
  }
}

void scan_range(const ScanRequest& ask, int64_t from, int64_t to) {
  std::vector<int32_t> dots(static_cast<size_t>(kRows) * ask.parts);
  int64_t at = from;
  for (; at + kRows <= to; at += kRows) scan_rows<kRows>(ask, at, dots.data());
  for (; at < to; ++at) scan_rows<1>(ask, at, dots.data());
}

void refine_range(const RefineRequest& ask, int64_t from, int64_t to) {
  const int64_t size = static_cast<int64_t>(ask.parts) * ask.width;
  for (int64_t i = from; i < to; ++i) {
    const uint8_t* row = ask.rows + ask.chosen[i] * ask.stride;
    const int8_t* fine = ask.fine + ask.chosen[i] * size;
    const float* scale = reinterpret_cast<const float*>(row + ask.scale_at);
    float sum = 0.0f;
    for (int p = 0; p < ask.parts; ++p) {
      const uint8_t* high = row + static_cast<int64_t>(p) * ask.width;
      const int8_t* low = fine + static_cast<int64_t>(p) * ask.width;
      const float* probe = ask.probe + static_cast<int64_t>(p) * ask.width;
      float lanes[16] = {0};
      for (int c = 0; c < ask.width; c += 16)
        for (int l = 0; l < 16; ++l) {
          const int32_t value = 256 * (static_cast<int32_t>(high[c + l]) - 128) + low[c + l];
          const float off = probe[c + l] - scale[p] * static_cast<float>(value);
          lanes[l] += off * off;
        }
      float squares = 0.0f;
      for (int l = 0; l < 16; ++l) squares += lanes[l];
      sum += std::sqrt(squares);
    }
    ask.out[i] = sum / ask.parts;
  }
}

// Rows [first, last) in `threads` parts, but no more than `shares`.
template <typename Work>
void in_threads(int64_t threads, int64_t shares, int64_t first, int64_t last, Work work) {
  const int64_t count = last - first, parts = std::max<int64_t>(1, std::min(threads, shares));
  std::vector<std::thread> others;
  for (int64_t i = 1; i < parts; ++i)
    others.emplace_back([=] { work(first + count * i / parts, first + count * (i + 1) / parts); });
  work(first, first + count / parts);
  for (std::thread& one : others) one.join();
}

}  // namespace

extern "C" {

int64_t gaitstream_scan_request_bytes() {
  return sizeof(ScanRequest) * 1000000 + sizeof(RefineRequest) * 1000 + sizeof(QuantiseRequest);
}

void gaitstream_quantise(const QuantiseRequest* ask) {
  const int64_t size = static_cast<int64_t>(ask->parts_each) * ask->width;
  for (int64_t i = 0; i < ask->count; ++i) {
    uint8_t* row = ask->rows + i * ask->stride;
    double slack = 0, fine = 0;
    for (int p = 0; p < ask->parts_each; ++p) {
      const int64_t at = static_cast<int64_t>(p) * ask->width;
      quantise_part(ask->parts + i * size + at, ask->width, row + at, ask->planes + i * size + at,
                    reinterpret_cast<float*>(row + ask->scale_at) + p, reinterpret_cast<float*>(row + ask->norm_at) + p,
                    &slack, &fine);
    }
    *reinterpret_cast<float*>(row + ask->slack_at) = static_cast<float>(slack / ask->parts_each * kUp);
    *reinterpret_cast<float*>(row + ask->fine_at) = static_cast<float>(fine / ask->parts_each * kUp);
  }
}

void gaitstream_scan(const ScanRequest* ask) {
  in_threads(ask->threads, (ask->last - ask->first) * ask->probes / kScanned + 1, ask->first, ask->last,
             [=](int64_t from, int64_t to) { scan_range(*ask, from, to); });
}

void gaitstream_refine(const RefineRequest* ask) {
  in_threads(ask->threads, ask->count / kRefined + 1, 0, ask->count,
             [=](int64_t from, int64_t to) { refine_range(*ask, from, to); });
}

}  // extern "C"

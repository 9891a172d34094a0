#include "decode.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

namespace {

constexpr int kYoloxStrides[] = {8, 16, 32};

/* Keeps the best boxes in the caller's buffer: a min-heap on the score once it is full. */
class Collector {
  public:
    Collector(gaitstream_box* out, int capacity) : out_(out), capacity_(capacity) {}

    void add(float left, float top, float right, float bottom, float score) {
        const float width = right - left, height = bottom - top;
        if (!(width > 0.0f) || !(height > 0.0f) || !std::isfinite(width) || !std::isfinite(height) ||
            !std::isfinite(left) || !std::isfinite(top)) {
            return;
        }
        const gaitstream_box box{left, top, width, height, score};
        if (count_ < capacity_) {
            out_[count_++] = box;
            if (count_ == capacity_) std::make_heap(out_, out_ + count_, better);
        } else if (capacity_ > 0 && score > out_[0].score) {
            std::pop_heap(out_, out_ + count_, better);
            out_[count_ - 1] = box;
            std::push_heap(out_, out_ + count_, better);
        }
    }

    void add_centred(float x, float y, float w, float h, float score) {
        add(x - 0.5f * w, y - 0.5f * h, x + 0.5f * w, y + 0.5f * h, score);
    }

    int count() const { return count_; }

  private:
    static bool better(const gaitstream_box& a, const gaitstream_box& b) { return a.score > b.score; }

    gaitstream_box* out_;
    int capacity_;
    int count_ = 0;
};

float sigmoid(float x) { return 1.0f / (1.0f + std::exp(-x)); }

/* IEEE 754 binary16: all its values are floats too. */
float widened(uint16_t half) {
    const int exponent = (half >> 10) & 31, mantissa = half & 1023;
    float value = 0.0f;
    if (exponent == 31) {
        value = mantissa ? std::numeric_limits<float>::quiet_NaN() : std::numeric_limits<float>::infinity();
    } else if (exponent == 0) {
        value = std::ldexp(static_cast<float>(mantissa), -24);
    } else {
        value = std::ldexp(static_cast<float>(mantissa + 1024), exponent - 25);
    }
    return half & 0x8000 ? -value : value;
}

int cells(int size, int stride) { return (size + stride - 1) / stride; }

struct View {
    const float* data;
    int rows, columns;
};

/* A tensor of rank 2 once leading ones are gone: engines differ in whether they keep the batch of one. */
bool matrix(const gaitstream_tensor& tensor, View* view) {
    if (tensor.data == nullptr || tensor.rank < 2) return false;
    for (int i = 0; i + 2 < tensor.rank; ++i) {
        if (tensor.dims[i] != 1) return false;
    }
    *view = View{tensor.data, tensor.dims[tensor.rank - 2], tensor.dims[tensor.rank - 1]};
    return true;
}

bool yolox(const View& view, int width, int height, int person, float min_score, Collector* boxes) {
    int count = 0;
    for (const int stride : kYoloxStrides) count += cells(width, stride) * cells(height, stride);
    if (view.rows != count || view.columns <= 5 + person) return false;
    const float* row = view.data;
    for (const int stride : kYoloxStrides) {
        const float step = static_cast<float>(stride);
        for (int y = 0; y < cells(height, stride); ++y) {
            for (int x = 0; x < cells(width, stride); ++x, row += view.columns) {
                const float score = row[4] * row[5 + person];
                if (!(score >= min_score)) continue;
                boxes->add_centred((row[0] + static_cast<float>(x)) * step,
                                   (row[1] + static_cast<float>(y)) * step, std::exp(row[2]) * step,
                                   std::exp(row[3]) * step, score);
            }
        }
    }
    return true;
}

bool yolov8(const View& view, int person, float min_score, Collector* boxes) {
    if (view.rows <= 4 + person) return false;
    const float* data = view.data;
    const int n = view.columns;
    for (int i = 0; i < n; ++i) {
        const float score = data[(4 + person) * n + i];
        if (score >= min_score) {
            boxes->add_centred(data[i], data[n + i], data[2 * n + i], data[3 * n + i], score);
        }
    }
    return true;
}

bool yolov10(const View& view, int person, float min_score, Collector* boxes) {
    if (view.columns != 6) return false;
    for (int i = 0; i < view.rows; ++i) {
        const float* row = view.data + 6 * i;
        if (row[4] >= min_score && std::lround(row[5]) == person) {
            boxes->add(row[0], row[1], row[2], row[3], row[4]);
        }
    }
    return true;
}

const gaitstream_tensor* named(const gaitstream_tensor* tensors, int count, const char* name) {
    for (int i = 0; i < count; ++i) {
        if (tensors[i].name != nullptr && std::strcmp(tensors[i].name, name) == 0) return &tensors[i];
    }
    return nullptr;
}

bool detr_named(const gaitstream_tensor* tensors, int count, int person, float min_score, Collector* boxes) {
    const gaitstream_tensor* corners = named(tensors, count, "boxes");
    const gaitstream_tensor* scores = named(tensors, count, "scores");
    const gaitstream_tensor* labels = named(tensors, count, "labels");
    View view{};
    if (!corners || !scores || !labels || !matrix(*corners, &view) || view.columns != 4) return false;
    for (const gaitstream_tensor* list : {scores, labels}) {
        if (!list->data || list->rank < 1 || list->dims[list->rank - 1] != view.rows) return false;
    }
    for (int i = 0; i < view.rows; ++i) {
        const float* box = view.data + 4 * i;
        if (scores->data[i] >= min_score && std::lround(labels->data[i]) == person) {
            boxes->add(box[0], box[1], box[2], box[3], scores->data[i]);
        }
    }
    return true;
}

bool detr(const View& view, int width, int height, int person, float min_score, Collector* boxes) {
    if (view.columns <= 4 + person) return false;
    const float w = static_cast<float>(width), h = static_cast<float>(height);
    for (int i = 0; i < view.rows; ++i) {
        const float* row = view.data + i * view.columns;
        const float score = row[4 + person];
        if (score >= min_score) boxes->add_centred(row[0] * w, row[1] * h, row[2] * w, row[3] * h, score);
    }
    return true;
}

bool rfdetr(const gaitstream_tensor* tensors, int count, int width, int height, int person, float min_score,
            Collector* boxes) {
    View a{}, b{};
    if (count != 2 || !matrix(tensors[0], &a) || !matrix(tensors[1], &b) || a.rows != b.rows) return false;
    if ((a.columns == 4) == (b.columns == 4)) return false;
    const View& xywh = a.columns == 4 ? a : b;
    const View& logits = a.columns == 4 ? b : a;
    if (logits.columns <= person) return false;
    const float w = static_cast<float>(width), h = static_cast<float>(height);
    for (int i = 0; i < xywh.rows; ++i) {
        const float score = sigmoid(logits.data[i * logits.columns + person]);
        const float* box = xywh.data + 4 * i;
        if (score >= min_score) boxes->add_centred(box[0] * w, box[1] * h, box[2] * w, box[3] * h, score);
    }
    return true;
}

}  // namespace

extern "C" int gaitstream_decode(gaitstream_layout layout, const gaitstream_tensor* tensors, int count,
                                 int width, int height, int person, float min_score, gaitstream_box* out,
                                 int capacity) {
    if (!tensors || !out || count < 1 || capacity < 0 || width < 1 || height < 1 || person < 0) return -1;
    Collector boxes(out, capacity);
    View view{};
    const bool single = count == 1 && matrix(tensors[0], &view);
    bool fits = false;
    switch (layout) {
        case GAITSTREAM_YOLOX:
            fits = single && yolox(view, width, height, person, min_score, &boxes);
            break;
        case GAITSTREAM_YOLOV8:
            fits = single && yolov8(view, person, min_score, &boxes);
            break;
        case GAITSTREAM_YOLOV10:
            fits = single && yolov10(view, person, min_score, &boxes);
            break;
        case GAITSTREAM_DETR:
            fits = single ? detr(view, width, height, person, min_score, &boxes)
                          : detr_named(tensors, count, person, min_score, &boxes);
            break;
        case GAITSTREAM_RFDETR:
            fits = rfdetr(tensors, count, width, height, person, min_score, &boxes);
            break;
    }
    return fits ? boxes.count() : -1;
}

extern "C" void gaitstream_widen_half(const uint16_t* source, size_t count, float* target) {
    for (size_t i = 0; i < count; ++i) target[i] = widened(source[i]);
}

#include "decode.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace {

constexpr int kYoloxStrides[] = {8, 16, 32};
constexpr int kRfdetrPerson = 1;

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

/* Dimensions without leading ones: engines differ in whether they keep the batch of one. */
struct View {
    const float* data;
    int rows, columns;
};

bool matrix(const gaitstream_tensor& tensor, View* view) {
    int dims[4], rank = 0;
    for (int i = 0; i < tensor.rank && i < 4; ++i) {
        if (rank > 0 || tensor.dims[i] != 1 || tensor.rank - i <= 2) dims[rank++] = tensor.dims[i];
    }
    if (rank != 2 || tensor.data == nullptr) return false;
    *view = View{tensor.data, dims[0], dims[1]};
    return true;
}

bool yolox(const View& view, int width, int height, float min_score, Collector* boxes) {
    int cells = 0;
    for (const int stride : kYoloxStrides) cells += (width / stride) * (height / stride);
    if (view.rows != cells || view.columns < 6) return false;
    const float* row = view.data;
    for (const int stride : kYoloxStrides) {
        const int columns = width / stride, rows = height / stride;
        for (int y = 0; y < rows; ++y) {
            for (int x = 0; x < columns; ++x, row += view.columns) {
                const float score = row[4] * row[5];
                if (!(score >= min_score)) continue;
                const float step = static_cast<float>(stride);
                boxes->add_centred((row[0] + static_cast<float>(x)) * step,
                                   (row[1] + static_cast<float>(y)) * step, std::exp(row[2]) * step,
                                   std::exp(row[3]) * step, score);
            }
        }
    }
    return true;
}

bool yolov8(const View& view, float min_score, Collector* boxes) {
    if (view.rows < 5 || view.rows >= view.columns) return false;
    const float* data = view.data;
    const int n = view.columns;
    for (int i = 0; i < n; ++i) {
        const float score = data[4 * n + i];
        if (score >= min_score) {
            boxes->add_centred(data[i], data[n + i], data[2 * n + i], data[3 * n + i], score);
        }
    }
    return true;
}

bool yolov10(const View& view, float min_score, Collector* boxes) {
    if (view.columns != 6) return false;
    for (int i = 0; i < view.rows; ++i) {
        const float* row = view.data + 6 * i;
        if (row[4] >= min_score && row[5] == 0.0f) boxes->add(row[0], row[1], row[2], row[3], row[4]);
    }
    return true;
}

/* Whether a DETR head's class values are logits: probabilities stay in 0..1. */
bool are_logits(const float* data, int rows, int columns, int row_stride) {
    for (int i = 0; i < rows; ++i) {
        for (int c = 0; c < columns; ++c) {
            const float value = data[i * row_stride + c];
            if (value < 0.0f || value > 1.0f) return true;
        }
    }
    return false;
}

bool detr(const gaitstream_tensor* tensors, int count, int person, bool logits_for_sure, int width, int height,
          float min_score, Collector* boxes) {
    View xywh{}, classes{};
    if (count == 1) {
        if (!matrix(tensors[0], &xywh) || xywh.columns < 5) return false;
        classes = View{xywh.data + 4, xywh.rows, xywh.columns - 4};
    } else {
        View a{}, b{};
        if (count != 2 || !matrix(tensors[0], &a) || !matrix(tensors[1], &b) || a.rows != b.rows) return false;
        if ((a.columns == 4) == (b.columns == 4)) return false;
        xywh = a.columns == 4 ? a : b;
        classes = a.columns == 4 ? b : a;
    }
    if (classes.columns <= person) return false;
    const int box_stride = xywh.columns;
    const int class_stride = count == 1 ? xywh.columns : classes.columns;
    const bool logits =
        logits_for_sure || are_logits(classes.data, classes.rows, classes.columns, class_stride);
    const float w = static_cast<float>(width), h = static_cast<float>(height);
    for (int i = 0; i < xywh.rows; ++i) {
        const float value = classes.data[i * class_stride + person];
        const float score = logits ? sigmoid(value) : value;
        const float* box = xywh.data + i * box_stride;
        if (score >= min_score) boxes->add_centred(box[0] * w, box[1] * h, box[2] * w, box[3] * h, score);
    }
    return true;
}

}  // namespace

extern "C" int gaitstream_decode(gaitstream_layout layout, const gaitstream_tensor* tensors, int count,
                                 int width, int height, float min_score, gaitstream_box* out, int capacity) {
    if (tensors == nullptr || count < 1 || out == nullptr || capacity < 0 || width < 1 || height < 1) return -1;
    Collector boxes(out, capacity);
    View view{};
    bool fits = false;
    switch (layout) {
        case GAITSTREAM_YOLOX:
            fits = count == 1 && matrix(tensors[0], &view) && yolox(view, width, height, min_score, &boxes);
            break;
        case GAITSTREAM_YOLOV8:
            fits = count == 1 && matrix(tensors[0], &view) && yolov8(view, min_score, &boxes);
            break;
        case GAITSTREAM_YOLOV10:
            fits = count == 1 && matrix(tensors[0], &view) && yolov10(view, min_score, &boxes);
            break;
        case GAITSTREAM_DETR:
            fits = detr(tensors, count, 0, false, width, height, min_score, &boxes);
            break;
        case GAITSTREAM_RFDETR:
            fits = detr(tensors, count, kRfdetrPerson, true, width, height, min_score, &boxes);
            break;
    }
    return fits ? boxes.count() : -1;
}

/* Person boxes from a detector's raw outputs: the part of the parser that knows no DeepStream.
 *
 * A plain C interface, so that it can be loaded and tested anywhere. Boxes come out in pixels of the
 * network's input; nvinfer maps them to the frame. Nothing is allocated, nothing is kept between calls.
 */
#ifndef GAITSTREAM_DECODE_H
#define GAITSTREAM_DECODE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
    GAITSTREAM_YOLOX = 0,   /* [n, 5 + classes]: grid-relative cx, cy, log w, log h, objectness, classes */
    GAITSTREAM_YOLOV8 = 1,  /* [4 + classes, n]: cx, cy, w, h in pixels, class scores */
    GAITSTREAM_YOLOV10 = 2, /* [n, 6]: x1, y1, x2, y2 in pixels, score, class; suppressed inside the graph */
    GAITSTREAM_DETR = 3,    /* [n, 4 + classes]: cx, cy, w, h in 0..1, class scores; or three tensors named
                               boxes [n, 4] (x1, y1, x2, y2 in pixels), scores [n] and labels [n] */
    GAITSTREAM_RFDETR = 4   /* [n, 4]: cx, cy, w, h in 0..1, and logits [n, classes] */
} gaitstream_layout;

typedef struct {
    const char* name;
    const float* data; /* one image's output, without the batch dimension */
    int dims[4];
    int rank;
} gaitstream_tensor;

typedef struct {
    float left, top, width, height; /* pixels of the network's input */
    float score;                    /* 0..1 */
} gaitstream_box;

/* Decodes one image.
 *
 * tensors, count: the network's outputs. width, height: of its input. person: index of that class.
 * min_score: lower scores are dropped.
 * out, capacity: where boxes go; the best stay when there are more.
 * Returns the number of boxes, or -1 when the tensors do not have the layout's shapes.
 */
int gaitstream_decode(gaitstream_layout layout, const gaitstream_tensor* tensors, int count, int width,
                      int height, int person, float min_score, gaitstream_box* out, int capacity);

/* Widens half floats: an engine may give them where the graph's outputs are floats. */
void gaitstream_widen_half(const uint16_t* source, size_t count, float* target);

#ifdef __cplusplus
}
#endif

#endif

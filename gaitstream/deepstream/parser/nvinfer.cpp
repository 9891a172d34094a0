/* nvinfer's entry points: translate its types to decode.h and back.
 *
 * Each is named in an nvinfer configuration as `parse-bbox-func-name`. The person is the last of the
 * configured classes (`num-detected-classes` minus one): nvinfer hands a parser no other parameter. Boxes
 * under that class's pre-cluster threshold are dropped; clustering stays with nvinfer.
 */
#include <cstdint>
#include <cstdio>
#include <vector>

#include "decode.h"
#include "nvdsinfer_custom_impl.h"

namespace {

constexpr int kCapacity = 1000;

template <typename T>
void widen(const void* source, size_t count, std::vector<float>* target) {
    const T* values = static_cast<const T*>(source);
    target->assign(values, values + count);
}

/* Labels come as integers, and some engines give half floats; everything is decoded as float. `store` keeps
 * what had to be converted. */
bool tensor_of(const NvDsInferLayerInfo& layer, std::vector<float>* store, gaitstream_tensor* tensor) {
    const NvDsInferDims& dims = layer.inferDims;
    if (dims.numDims < 1 || dims.numDims > 4) return false;
    size_t count = 1;
    tensor->name = layer.layerName;
    tensor->rank = static_cast<int>(dims.numDims);
    for (unsigned int i = 0; i < dims.numDims; ++i) {
        tensor->dims[i] = static_cast<int>(dims.d[i]);
        count *= dims.d[i];
    }
    switch (layer.dataType) {
        case FLOAT:
            tensor->data = static_cast<const float*>(layer.buffer);
            return true;
        case HALF:
            store->resize(count);
            gaitstream_widen_half(static_cast<const uint16_t*>(layer.buffer), count, store->data());
            break;
        case INT32:
            widen<int32_t>(layer.buffer, count, store);
            break;
        case INT64:
            widen<int64_t>(layer.buffer, count, store);
            break;
        default:
            return false;
    }
    tensor->data = store->data();
    return true;
}

bool parse(gaitstream_layout layout, const std::vector<NvDsInferLayerInfo>& layers,
           const NvDsInferNetworkInfo& network, const NvDsInferParseDetectionParams& params,
           std::vector<NvDsInferObjectDetectionInfo>& objects) {
    std::vector<gaitstream_tensor> tensors;
    std::vector<std::vector<float>> stores(layers.size());
    for (size_t i = 0; i < layers.size(); ++i) {
        gaitstream_tensor tensor{};
        if (layers[i].isInput) continue;
        if (!tensor_of(layers[i], &stores[i], &tensor)) {
            std::fprintf(stderr, "gaitstream parser: output %s has a type or rank no layout has\n",
                         layers[i].layerName);
            return false;
        }
        tensors.push_back(tensor);
    }
    const unsigned int person = params.numClassesConfigured > 0 ? params.numClassesConfigured - 1 : 0;
    const float min_score =
        person < params.perClassPreclusterThreshold.size() ? params.perClassPreclusterThreshold[person] : 0.0f;
    std::vector<gaitstream_box> boxes(kCapacity);
    const int count = gaitstream_decode(layout, tensors.data(), static_cast<int>(tensors.size()),
                                        static_cast<int>(network.width), static_cast<int>(network.height),
                                        static_cast<int>(person), min_score, boxes.data(), kCapacity);
    if (count < 0) {
        std::fprintf(stderr, "gaitstream parser: the outputs do not have the shapes of layout %d\n",
                     static_cast<int>(layout));
        return false;
    }
    for (int i = 0; i < count; ++i) {
        const gaitstream_box& box = boxes[static_cast<size_t>(i)];
        NvDsInferObjectDetectionInfo object{};
        object.classId = person;
        object.left = box.left;
        object.top = box.top;
        object.width = box.width;
        object.height = box.height;
        object.detectionConfidence = box.score;
        objects.push_back(object);
    }
    return true;
}

}  // namespace

#define GAITSTREAM_ENTRY(name, layout)                                                                       \
    extern "C" bool name(std::vector<NvDsInferLayerInfo> const& layers, NvDsInferNetworkInfo const& network, \
                         NvDsInferParseDetectionParams const& params,                                        \
                         std::vector<NvDsInferObjectDetectionInfo>& objects) {                               \
        return parse(layout, layers, network, params, objects);                                              \
    }                                                                                                        \
    CHECK_CUSTOM_PARSE_FUNC_PROTOTYPE(name)

GAITSTREAM_ENTRY(GaitstreamParseYolox, GAITSTREAM_YOLOX)
GAITSTREAM_ENTRY(GaitstreamParseYolov8, GAITSTREAM_YOLOV8)
GAITSTREAM_ENTRY(GaitstreamParseYolov10, GAITSTREAM_YOLOV10)
GAITSTREAM_ENTRY(GaitstreamParseDetr, GAITSTREAM_DETR)
GAITSTREAM_ENTRY(GaitstreamParseRfdetr, GAITSTREAM_RFDETR)

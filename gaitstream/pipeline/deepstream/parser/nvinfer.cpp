/* nvinfer's entry points: translate its types to decode.h and back.
 *
 * Every function is named in an nvinfer configuration as `parse-bbox-func-name`. They report persons as
 * class 0 and drop what lies under class 0's pre-cluster threshold; clustering stays with nvinfer.
 */
#include <cstdio>
#include <vector>

#include "decode.h"
#include "nvdsinfer_custom_impl.h"

namespace {

constexpr int kCapacity = 1000;

bool tensor_of(const NvDsInferLayerInfo& layer, gaitstream_tensor* tensor) {
    const NvDsInferDims& dims = layer.inferDims;
    if (layer.dataType != FLOAT || dims.numDims > 4) {
        std::fprintf(stderr, "gaitstream parser: output %s has type %d and rank %u; FLOAT and rank <= 4 needed\n",
                     layer.layerName, static_cast<int>(layer.dataType), dims.numDims);
        return false;
    }
    tensor->name = layer.layerName;
    tensor->data = static_cast<const float*>(layer.buffer);
    tensor->rank = static_cast<int>(dims.numDims);
    for (int i = 0; i < tensor->rank; ++i) tensor->dims[i] = static_cast<int>(dims.d[i]);
    return true;
}

bool parse(gaitstream_layout layout, const std::vector<NvDsInferLayerInfo>& layers,
           const NvDsInferNetworkInfo& network, const NvDsInferParseDetectionParams& params,
           std::vector<NvDsInferObjectDetectionInfo>& objects) {
    std::vector<gaitstream_tensor> tensors;
    for (const NvDsInferLayerInfo& layer : layers) {
        gaitstream_tensor tensor{};
        if (layer.isInput) continue;
        if (!tensor_of(layer, &tensor)) return false;
        tensors.push_back(tensor);
    }
    const float min_score = params.perClassPreclusterThreshold.empty() ? 0.0f : params.perClassPreclusterThreshold[0];
    std::vector<gaitstream_box> boxes(kCapacity);
    const int count = gaitstream_decode(layout, tensors.data(), static_cast<int>(tensors.size()),
                                        static_cast<int>(network.width), static_cast<int>(network.height),
                                        min_score, boxes.data(), kCapacity);
    if (count < 0) {
        std::fprintf(stderr, "gaitstream parser: the outputs do not have the shapes of layout %d; check `layout`\n",
                     static_cast<int>(layout));
        return false;
    }
    for (int i = 0; i < count; ++i) {
        NvDsInferObjectDetectionInfo object{};
        object.classId = 0;
        object.left = boxes[static_cast<size_t>(i)].left;
        object.top = boxes[static_cast<size_t>(i)].top;
        object.width = boxes[static_cast<size_t>(i)].width;
        object.height = boxes[static_cast<size_t>(i)].height;
        object.detectionConfidence = boxes[static_cast<size_t>(i)].score;
        objects.push_back(object);
    }
    return true;
}

}  // namespace

#define GAITSTREAM_ENTRY(name, layout)                                                                          \
    extern "C" bool name(std::vector<NvDsInferLayerInfo> const& layers, NvDsInferNetworkInfo const& network,    \
                         NvDsInferParseDetectionParams const& params,                                           \
                         std::vector<NvDsInferObjectDetectionInfo>& objects) {                                  \
        return parse(layout, layers, network, params, objects);                                                 \
    }                                                                                                           \
    CHECK_CUSTOM_PARSE_FUNC_PROTOTYPE(name)

GAITSTREAM_ENTRY(GaitstreamParseYolox, GAITSTREAM_YOLOX)
GAITSTREAM_ENTRY(GaitstreamParseYolov8, GAITSTREAM_YOLOV8)
GAITSTREAM_ENTRY(GaitstreamParseYolov10, GAITSTREAM_YOLOV10)
GAITSTREAM_ENTRY(GaitstreamParseDetr, GAITSTREAM_DETR)
GAITSTREAM_ENTRY(GaitstreamParseRfdetr, GAITSTREAM_RFDETR)

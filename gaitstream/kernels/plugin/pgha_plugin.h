// Pose-guided heatmap alignment as a TensorRT plugin: name "PGHA", version "1", namespace "gaitstream".
//
// Inputs: heatmaps [n, c, 64, 48] (float32 or float16, linear), and optionally keypoints [n, 17, 3] float32.
// Outputs: parts [n, 1 + K, 64, 48] in the heatmaps' type; angle_deg [n]; aligned [n], 1 or 0; neck_xy [n, 2];
// hip_xy [n, 2]; score [n]; all float32. Attributes are those of the ONNX operator, see
// gaitstream/kernels/onnx_op.py: groups, group_sizes, gamma_deg, align_small, target_xy, normalization,
// sampling. Normalisation over tracklets needs two passes over a whole tracklet and is not offered here.
#ifndef GAITSTREAM_PGHA_PLUGIN_H
#define GAITSTREAM_PGHA_PLUGIN_H

#include <NvInfer.h>

#include <cstdint>
#include <string>
#include <vector>

namespace gaitstream {

struct PghaAttributes {
  std::vector<int32_t> groups;       // channels of all groups, end to end
  std::vector<int32_t> group_sizes;  // how many of them belong to each group
  float gamma_deg = 5.0f;
  float target_xy[2] = {24.0f, 16.0f};
  int32_t align_small = 0;
  int32_t normalization = 1;  // 0 none, 1 fixed
  int32_t sampling = 0;       // 0 f32, 1 half_io, 2 one

  // Each group as a bit mask over channels; empty when the attributes contradict each other.
  std::vector<uint64_t> masks() const;
};

class PghaPlugin final : public nvinfer1::IPluginV3,
                         public nvinfer1::IPluginV3OneCore,
                         public nvinfer1::IPluginV3OneBuild,
                         public nvinfer1::IPluginV3OneRuntime {
 public:
  explicit PghaPlugin(PghaAttributes attributes);

  nvinfer1::IPluginCapability* getCapabilityInterface(nvinfer1::PluginCapabilityType type) noexcept override;
  nvinfer1::IPluginV3* clone() noexcept override;

  char const* getPluginName() const noexcept override;
  char const* getPluginVersion() const noexcept override;
  char const* getPluginNamespace() const noexcept override;

  int32_t configurePlugin(nvinfer1::DynamicPluginTensorDesc const* in, int32_t inputs,
                          nvinfer1::DynamicPluginTensorDesc const* out, int32_t outputs) noexcept override;
  int32_t getOutputDataTypes(nvinfer1::DataType* output_types, int32_t outputs,
                             nvinfer1::DataType const* input_types, int32_t inputs) const noexcept override;
  int32_t getOutputShapes(nvinfer1::DimsExprs const* in, int32_t inputs, nvinfer1::DimsExprs const* shape_inputs,
                          int32_t shape_input_count, nvinfer1::DimsExprs* out, int32_t outputs,
                          nvinfer1::IExprBuilder& builder) noexcept override;
  bool supportsFormatCombination(int32_t position, nvinfer1::DynamicPluginTensorDesc const* tensors, int32_t inputs,
                                 int32_t outputs) noexcept override;
  int32_t getNbOutputs() const noexcept override;

  int32_t onShapeChange(nvinfer1::PluginTensorDesc const* in, int32_t inputs, nvinfer1::PluginTensorDesc const* out,
                        int32_t outputs) noexcept override;
  int32_t enqueue(nvinfer1::PluginTensorDesc const* in_desc, nvinfer1::PluginTensorDesc const* out_desc,
                  void const* const* in, void* const* out, void* workspace, cudaStream_t stream) noexcept override;
  nvinfer1::IPluginV3* attachToContext(nvinfer1::IPluginResourceContext* context) noexcept override;
  nvinfer1::PluginFieldCollection const* getFieldsToSerialize() noexcept override;

 private:
  PghaAttributes attributes_;
  std::vector<uint64_t> masks_;
  bool has_keypoints_ = false;
  std::vector<nvinfer1::PluginField> fields_;
  nvinfer1::PluginFieldCollection collection_{};
};

class PghaPluginCreator final : public nvinfer1::IPluginCreatorV3One {
 public:
  PghaPluginCreator();

  nvinfer1::IPluginV3* createPlugin(char const* name, nvinfer1::PluginFieldCollection const* fields,
                                    nvinfer1::TensorRTPhase phase) noexcept override;
  nvinfer1::PluginFieldCollection const* getFieldNames() noexcept override;
  char const* getPluginName() const noexcept override;
  char const* getPluginVersion() const noexcept override;
  char const* getPluginNamespace() const noexcept override;

 private:
  std::vector<nvinfer1::PluginField> fields_;
  nvinfer1::PluginFieldCollection collection_{};
};

}  // namespace gaitstream

#endif

#include "pgha_plugin.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <exception>
#include <utility>

#include "pgha_launch.h"

using namespace nvinfer1;

namespace gaitstream {
namespace {

constexpr char kName[] = "PGHA";
constexpr char kVersion[] = "1";
constexpr char kNamespace[] = "gaitstream";
constexpr int32_t kOutputs = 6;
constexpr int kJoints = 17;
constexpr int kSpine[kSpineJoints] = {5, 6, 11, 12};

enum Output { kParts, kAngle, kAligned, kNeck, kHip, kScore };

// Said to TensorRT's logger where there is one; a plugin must not throw.
void report(char const* problem) {
  if (ILogger* logger = getLogger()) logger->log(ILogger::Severity::kERROR, problem);
}

std::vector<PluginField> describe(const PghaAttributes& attributes) {
  const auto count = [](const auto& values) { return static_cast<int32_t>(values.size()); };
  return {
      {"groups", attributes.groups.data(), PluginFieldType::kINT32, count(attributes.groups)},
      {"group_sizes", attributes.group_sizes.data(), PluginFieldType::kINT32, count(attributes.group_sizes)},
      {"gamma_deg", &attributes.gamma_deg, PluginFieldType::kFLOAT32, 1},
      {"target_xy", attributes.target_xy, PluginFieldType::kFLOAT32, 2},
      {"align_small", &attributes.align_small, PluginFieldType::kINT32, 1},
      {"normalization", &attributes.normalization, PluginFieldType::kINT32, 1},
      {"sampling", &attributes.sampling, PluginFieldType::kINT32, 1},
  };
}

// ONNX integers arrive as int32 or int64, depending on the parser's version.
bool read_integers(const PluginField& field, std::vector<int32_t>& values) {
  values.resize(static_cast<size_t>(std::max(field.length, 0)));
  for (size_t i = 0; i < values.size(); ++i) {
    if (field.type == PluginFieldType::kINT32) {
      values[i] = static_cast<int32_t const*>(field.data)[i];
    } else if (field.type == PluginFieldType::kINT64) {
      values[i] = static_cast<int32_t>(static_cast<int64_t const*>(field.data)[i]);
    } else {
      return false;
    }
  }
  return true;
}

bool read_field(const PluginField& field, PghaAttributes& attributes) {
  const std::string name = field.name ? field.name : "";
  if (name == "groups") return read_integers(field, attributes.groups);
  if (name == "group_sizes") return read_integers(field, attributes.group_sizes);
  if (name == "gamma_deg" || name == "target_xy") {
    const int32_t wanted = name == "gamma_deg" ? 1 : 2;
    if (field.type != PluginFieldType::kFLOAT32 || field.length != wanted) return false;
    float* to = wanted == 1 ? &attributes.gamma_deg : attributes.target_xy;
    std::copy_n(static_cast<float const*>(field.data), wanted, to);
    return true;
  }
  int32_t* number = name == "align_small"     ? &attributes.align_small
                    : name == "normalization" ? &attributes.normalization
                    : name == "sampling"      ? &attributes.sampling
                                              : nullptr;
  if (!number) return name.rfind("plugin_", 0) == 0;  // plugin_version and plugin_namespace are TensorRT's own
  std::vector<int32_t> values;
  if (!read_integers(field, values) || values.size() != 1) return false;
  *number = values[0];
  return true;
}

bool are_valid(const PghaAttributes& attributes) {
  return !attributes.masks().empty() && std::isfinite(attributes.gamma_deg) && attributes.gamma_deg >= 0 &&
         std::isfinite(attributes.target_xy[0]) && std::isfinite(attributes.target_xy[1]) &&
         (attributes.normalization == kNone || attributes.normalization == kFixed) && attributes.sampling >= kTwo &&
         attributes.sampling <= kOne;
}

}  // namespace

std::vector<uint64_t> PghaAttributes::masks() const {
  std::vector<uint64_t> result;
  size_t next = 0;
  for (const int32_t size : group_sizes) {
    uint64_t mask = 0;
    for (int32_t i = 0; i < size; ++i, ++next) {
      if (next >= groups.size() || groups[next] < 0 || groups[next] >= kMaxChannels) return {};
      mask |= uint64_t{1} << groups[next];
    }
    if (!mask) return {};
    result.push_back(mask);
  }
  const bool complete = next == groups.size() && result.size() <= static_cast<size_t>(kMaxGroups);
  return complete ? result : std::vector<uint64_t>{};
}

PghaPlugin::PghaPlugin(PghaAttributes attributes) : attributes_(std::move(attributes)), masks_(attributes_.masks()) {}

IPluginCapability* PghaPlugin::getCapabilityInterface(PluginCapabilityType type) noexcept {
  switch (type) {
    case PluginCapabilityType::kCORE: return static_cast<IPluginV3OneCore*>(this);
    case PluginCapabilityType::kBUILD: return static_cast<IPluginV3OneBuild*>(this);
    case PluginCapabilityType::kRUNTIME: return static_cast<IPluginV3OneRuntime*>(this);
  }
  return nullptr;
}

IPluginV3* PghaPlugin::clone() noexcept {
  try {
    auto copy = new PghaPlugin(attributes_);
    copy->has_keypoints_ = has_keypoints_;
    return copy;
  } catch (std::exception const& error) {
    report(error.what());
    return nullptr;
  }
}

char const* PghaPlugin::getPluginName() const noexcept { return kName; }
char const* PghaPlugin::getPluginVersion() const noexcept { return kVersion; }
char const* PghaPlugin::getPluginNamespace() const noexcept { return kNamespace; }
int32_t PghaPlugin::getNbOutputs() const noexcept { return kOutputs; }

int32_t PghaPlugin::configurePlugin(DynamicPluginTensorDesc const* in, int32_t inputs,
                                    DynamicPluginTensorDesc const*, int32_t outputs) noexcept {
  if (inputs < 1 || inputs > 2 || outputs != kOutputs || in[0].desc.dims.nbDims != 4) {
    report("PGHA takes heatmaps [n, c, 64, 48] and optionally keypoints [n, 17, 3], and has six outputs");
    return -1;
  }
  has_keypoints_ = inputs == 2;
  return 0;
}

int32_t PghaPlugin::getOutputDataTypes(DataType* output_types, int32_t outputs, DataType const* input_types,
                                       int32_t) const noexcept {
  if (outputs != kOutputs) return -1;
  std::fill_n(output_types, kOutputs, DataType::kFLOAT);
  output_types[kParts] = input_types[0];  // the others are float: plugins may not output kBOOL
  return 0;
}

int32_t PghaPlugin::getOutputShapes(DimsExprs const* in, int32_t, DimsExprs const*, int32_t, DimsExprs* out,
                                    int32_t outputs, IExprBuilder& builder) noexcept {
  if (outputs != kOutputs || in[0].nbDims != 4) return -1;
  IDimensionExpr const* frames = in[0].d[0];
  for (int32_t i = 0; i < kOutputs; ++i) {
    out[i].nbDims = 1;
    out[i].d[0] = frames;
  }
  out[kParts].nbDims = 4;
  out[kParts].d[1] = builder.constant(1 + static_cast<int64_t>(masks_.size()));
  out[kParts].d[2] = builder.constant(kHeight);
  out[kParts].d[3] = builder.constant(kWidth);
  for (const int32_t i : {kNeck, kHip}) {
    out[i].nbDims = 2;
    out[i].d[1] = builder.constant(2);
  }
  return 0;
}

bool PghaPlugin::supportsFormatCombination(int32_t position, DynamicPluginTensorDesc const* tensors, int32_t inputs,
                                           int32_t) noexcept {
  const PluginTensorDesc& tensor = tensors[position].desc;
  if (tensor.format != TensorFormat::kLINEAR) return false;
  if (position == 0) return tensor.type == DataType::kFLOAT || tensor.type == DataType::kHALF;
  if (position == inputs + kParts) return tensor.type == tensors[0].desc.type;
  return tensor.type == DataType::kFLOAT;
}

int32_t PghaPlugin::onShapeChange(PluginTensorDesc const* in, int32_t inputs, PluginTensorDesc const*,
                                  int32_t) noexcept {
  const Dims& maps = in[0].dims;
  has_keypoints_ = inputs == 2;
  uint64_t named = 0;
  for (const uint64_t mask : masks_) named |= mask;
  const bool known = maps.nbDims == 4 && maps.d[1] >= 1 && maps.d[1] <= kMaxChannels && maps.d[2] == kHeight &&
                     maps.d[3] == kWidth && (has_keypoints_ || maps.d[1] > kSpine[kSpineJoints - 1]) &&
                     (maps.d[1] == kMaxChannels || named >> maps.d[1] == 0);
  const bool joints = !has_keypoints_ || (in[1].dims.nbDims == 3 && in[1].dims.d[1] == kJoints && in[1].dims.d[2] == 3);
  if (known && joints) return 0;
  report("PGHA: heatmaps must be [n, c, 64, 48] with every channel its groups name (and the shoulders' and hips' "
         "channels 5, 6, 11, 12 without keypoints), keypoints [n, 17, 3]");
  return -1;
}

int32_t PghaPlugin::enqueue(PluginTensorDesc const* in_desc, PluginTensorDesc const*, void const* const* in,
                            void* const* out, void*, cudaStream_t stream) noexcept {
  const bool half = in_desc[0].type == DataType::kHALF;
  PghaParams params{};
  params.heatmaps = in[0];
  params.keypoints = has_keypoints_ ? static_cast<float const*>(in[1]) : nullptr;
  params.parts = out[kParts];
  params.angle_deg = static_cast<float*>(out[kAngle]);
  params.aligned = out[kAligned];
  params.float_aligned = 1;
  params.neck = static_cast<float*>(out[kNeck]);
  params.hip = static_cast<float*>(out[kHip]);
  params.score = static_cast<float*>(out[kScore]);
  params.gamma_deg = attributes_.gamma_deg;
  params.target_x = attributes_.target_xy[0];
  params.target_y = attributes_.target_xy[1];
  params.n = static_cast<int>(in_desc[0].dims.d[0]);
  params.channels = static_cast<int>(in_desc[0].dims.d[1]);
  params.total_parts = 1 + static_cast<int>(masks_.size());
  params.normalization = attributes_.normalization;
  params.sampling = attributes_.sampling;
  params.align_small = attributes_.align_small;
  params.half_parts = half;
  std::copy_n(kSpine, kSpineJoints, params.joints);
  try {
    const cudaError_t status = launch_pgha(params, masks_, half, stream);
    if (status == cudaSuccess) return 0;
    report(cudaGetErrorString(status));
  } catch (std::exception const& error) {
    report(error.what());
  }
  return -1;
}

IPluginV3* PghaPlugin::attachToContext(IPluginResourceContext*) noexcept { return clone(); }

PluginFieldCollection const* PghaPlugin::getFieldsToSerialize() noexcept {
  fields_ = describe(attributes_);
  collection_ = {static_cast<int32_t>(fields_.size()), fields_.data()};
  return &collection_;
}

PghaPluginCreator::PghaPluginCreator() : fields_(describe(PghaAttributes{})) {
  for (PluginField& field : fields_) field.data = nullptr;  // names and types only
  collection_ = {static_cast<int32_t>(fields_.size()), fields_.data()};
}

IPluginV3* PghaPluginCreator::createPlugin(char const*, PluginFieldCollection const* fields,
                                           TensorRTPhase) noexcept {
  try {
    PghaAttributes attributes;
    for (int32_t i = 0; i < fields->nbFields; ++i) {
      if (!read_field(fields->fields[i], attributes)) {
        report((std::string("PGHA: attribute ") + fields->fields[i].name + " is unknown or of a wrong type").c_str());
        return nullptr;
      }
    }
    if (!are_valid(attributes)) {
      report("PGHA: groups and group_sizes must describe 1 to 16 groups of channels, gamma_deg and target_xy be finite, "
             "normalization 0 or 1, sampling 0 to 2");
      return nullptr;
    }
    return new PghaPlugin(std::move(attributes));
  } catch (std::exception const& error) {
    report(error.what());
    return nullptr;
  }
}

PluginFieldCollection const* PghaPluginCreator::getFieldNames() noexcept { return &collection_; }
char const* PghaPluginCreator::getPluginName() const noexcept { return kName; }
char const* PghaPluginCreator::getPluginVersion() const noexcept { return kVersion; }
char const* PghaPluginCreator::getPluginNamespace() const noexcept { return kNamespace; }

namespace {

// nvinfer only opens a library and asks it for nothing, so the operator registers itself when that happens. In the
// namespace of the ONNX node, since registries look nowhere else. The creator lives as long as the process: the
// library is linked with -z nodelete, because nvinfer closes it while engines go on using it.
struct Registration {
  Registration() {
    static PghaPluginCreator creator;
    IPluginRegistry* const registry = getPluginRegistry();
    if (!registry || !registry->registerCreator(creator, kNamespace)) report("PGHA could not be registered");
  }
} const registration;

}  // namespace
}  // namespace gaitstream

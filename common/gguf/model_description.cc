#include "common/gguf/model_description.h"

#include <span>
#include <string>
#include <string_view>

#include <fmt/format.h>

#include "common/base/text.h"
#include "common/gguf/model_shape.h"
#include "common/gguf/quant_mix.h"

namespace ballast::gguf {
namespace {

constexpr std::uint64_t kRepackRows = 8;

std::string ValidText(std::string_view text) {
  return base::FindInvalidUtf8(text) == std::string_view::npos ? std::string(text) : base::Quoted(text);
}

void SetShape(const ModelShape& shape, v1::ModelDescription* description) {
  description->set_layer_count(shape.layer_count);
  description->set_embedding_length(shape.embedding_length);
  description->set_feed_forward_length(shape.feed_forward_length);
  description->set_head_count(shape.head_count);
  description->set_kv_head_count(shape.kv_head_count);
  description->set_head_length(shape.head_dimension);
  description->set_vocabulary_size(shape.vocabulary_size);
  description->set_context_length(shape.context_length);
}

void SetTensors(std::span<const Tensor> tensors, v1::ModelDescription* description) {
  std::uint64_t repackable = 0;
  for (const Tensor& tensor : tensors) repackable += IsRepackable(tensor) ? tensor.size_bytes : 0;
  description->set_repackable_bytes(repackable);
  description->set_tensor_count(static_cast<std::uint32_t>(tensors.size()));
}

}  // namespace

v1::ModelDescription DescribePlan(const ModelPlan& plan, const std::string& name, std::uint64_t file_bytes) {
  v1::ModelDescription description;
  description.set_architecture(plan.shape.architecture);
  description.set_name(name);
  description.set_quant(std::string(NameOf(plan.level)));
  SetShape(plan.shape, &description);
  description.set_parameter_count(plan.parameter_count);
  description.set_file_bytes(file_bytes);
  description.set_weight_bytes(plan.tensor_bytes);
  SetTensors(plan.tensors, &description);
  description.set_shard_count(1);
  return description;
}

v1::ModelDescription DescribeModel(const ModelFile& model) {
  v1::ModelDescription description;
  description.set_architecture(ValidText(model.Text("general.architecture").value_or("")));
  description.set_name(ValidText(model.Text("general.name").value_or("")));
  if (const auto level = LevelOf(model)) description.set_quant(std::string(NameOf(*level)));
  if (const auto shape = ShapeOf(model); shape.ok()) SetShape(*shape, &description);
  description.set_parameter_count(ParameterCount(model));
  description.set_file_bytes(model.file_size_bytes);
  description.set_weight_bytes(model.tensor_bytes);
  SetTensors(model.tensors, &description);
  description.set_shard_count(static_cast<std::uint32_t>(model.parts.size()));
  return description;
}

v1::TensorDescription DescribeTensor(const ModelFile& model, const Tensor& tensor) {
  v1::TensorDescription description;
  description.set_name(tensor.name);
  description.set_type(std::string(InfoOf(tensor.type).name));
  for (std::uint32_t i = 0; i < tensor.dimension_count; ++i) description.add_dimensions(tensor.dimensions[i]);
  description.set_offset_bytes(model.PositionOf(tensor));
  description.set_size_bytes(tensor.size_bytes);
  description.set_shard(tensor.part_index);
  return description;
}

v1::ModelKey DescribeKey(const KeyValue& entry) {
  v1::ModelKey description;
  description.set_key(entry.key);
  description.set_type(std::string(NameOf(entry.type)));
  if (const auto* text = std::get_if<std::string>(&entry.value)) {
    description.set_value(ValidText(*text));
  } else if (const auto* extent = std::get_if<ValueExtent>(&entry.value)) {
    description.set_value(entry.type == ValueType::kString
                              ? fmt::format("{} bytes", extent->count)
                              : fmt::format("{} × {}", extent->count, NameOf(extent->element_type)));
  } else if (const auto* natural = std::get_if<std::uint64_t>(&entry.value)) {
    description.set_value(fmt::format("{}", *natural));
  } else if (const auto* whole = std::get_if<std::int64_t>(&entry.value)) {
    description.set_value(fmt::format("{}", *whole));
  } else if (const auto* flag = std::get_if<bool>(&entry.value)) {
    description.set_value(*flag ? "true" : "false");
  } else if (entry.type == ValueType::kFloat32) {
    // As a float, whose shortest form has no digits of the conversion to double.
    description.set_value(fmt::format("{}", static_cast<float>(std::get<double>(entry.value))));
  } else {
    description.set_value(fmt::format("{}", std::get<double>(entry.value)));
  }
  return description;
}

bool IsRepackable(const Tensor& tensor) {
  if (tensor.dimension_count < 2 || tensor.name == "token_embd.weight") return false;
  const bool type =
      tensor.type == TensorType::kQ4_0 || tensor.type == TensorType::kQ4_K || tensor.type == TensorType::kIQ4_NL;
  return type && tensor.dimensions[1] % kRepackRows == 0;
}

}  // namespace ballast::gguf

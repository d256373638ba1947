#include "common/gguf/model_file.h"

#include <algorithm>

namespace ballast::gguf {

std::string_view NameOf(ValueType type) {
  switch (type) {
    case ValueType::kUint8:
      return "u8";
    case ValueType::kInt8:
      return "i8";
    case ValueType::kUint16:
      return "u16";
    case ValueType::kInt16:
      return "i16";
    case ValueType::kUint32:
      return "u32";
    case ValueType::kInt32:
      return "i32";
    case ValueType::kFloat32:
      return "f32";
    case ValueType::kBool:
      return "bool";
    case ValueType::kString:
      return "string";
    case ValueType::kArray:
      return "array";
    case ValueType::kUint64:
      return "u64";
    case ValueType::kInt64:
      return "i64";
    case ValueType::kFloat64:
      return "f64";
  }
  return "unknown";
}

std::uint64_t Tensor::element_count() const {
  std::uint64_t count = 1;
  for (const std::uint64_t dimension : dimensions) count *= dimension;
  return count;
}

const KeyValue* ModelFile::Find(std::string_view key) const {
  const auto found =
      std::find_if(key_values.begin(), key_values.end(), [key](const KeyValue& entry) { return entry.key == key; });
  return found == key_values.end() ? nullptr : &*found;
}

const Tensor* ModelFile::FindTensor(std::string_view name) const {
  const auto found =
      std::find_if(tensors.begin(), tensors.end(), [name](const Tensor& tensor) { return tensor.name == name; });
  return found == tensors.end() ? nullptr : &*found;
}

std::optional<std::uint64_t> ModelFile::Unsigned(std::string_view key) const {
  const KeyValue* const entry = Find(key);
  if (entry == nullptr) return std::nullopt;
  if (const auto* value = std::get_if<std::uint64_t>(&entry->value)) return *value;
  if (const auto* value = std::get_if<std::int64_t>(&entry->value); value != nullptr && *value >= 0) {
    return static_cast<std::uint64_t>(*value);
  }
  return std::nullopt;
}

std::optional<double> ModelFile::Number(std::string_view key) const {
  const KeyValue* const entry = Find(key);
  if (entry == nullptr) return std::nullopt;
  if (const auto* value = std::get_if<double>(&entry->value)) return *value;
  if (const auto* value = std::get_if<std::uint64_t>(&entry->value)) return static_cast<double>(*value);
  if (const auto* value = std::get_if<std::int64_t>(&entry->value)) return static_cast<double>(*value);
  return std::nullopt;
}

std::optional<std::string_view> ModelFile::Text(std::string_view key) const {
  const KeyValue* const entry = Find(key);
  const auto* const value = entry == nullptr ? nullptr : std::get_if<std::string>(&entry->value);
  return value == nullptr ? std::nullopt : std::optional<std::string_view>(*value);
}

std::optional<bool> ModelFile::Bool(std::string_view key) const {
  const KeyValue* const entry = Find(key);
  const auto* const value = entry == nullptr ? nullptr : std::get_if<bool>(&entry->value);
  return value == nullptr ? std::nullopt : std::optional<bool>(*value);
}

const ValueExtent* ModelFile::Extent(std::string_view key) const {
  const KeyValue* const entry = Find(key);
  return entry == nullptr ? nullptr : std::get_if<ValueExtent>(&entry->value);
}

std::uint64_t ModelFile::PositionOf(const Tensor& tensor) const {
  return parts[tensor.part_index].data_offset_bytes + tensor.offset_bytes;
}

}  // namespace ballast::gguf

// What the fuzzer of the GGUF reader begins with: small files, right and wrong, each taking another way through it.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "common/gguf/synthetic_header.h"
#include "tests/fuzz/model_bytes.h"

namespace ballast::gguf {

// Names and contents; the same with every call.
inline std::vector<std::pair<std::string, std::string>> GgufCorpus() {
  std::vector<std::pair<std::string, std::string>> corpus;
  const auto add = [&corpus](std::string name, std::string bytes) {
    corpus.emplace_back(std::move(name), std::move(bytes));
  };
  const std::string small = SmallModel().Bytes();
  add("small", small);
  for (const std::size_t size : {0U, 3U, 4U, 8U, 16U, 24U, 40U, 200U, 400U}) {
    add("cut_at_" + std::to_string(size), small.substr(0, size));
  }
  add("data_cut", small.substr(0, small.size() - 1));
  for (const std::uint32_t version : {0U, 1U, 2U, 4U, 0x03000000U}) {
    ModelBytes bytes = SmallModel();
    bytes.version = version;
    add("version_" + std::to_string(version), bytes.Bytes());
  }
  // One tensor of every type, one block each.
  ModelBytes types;
  for (const TensorTypeInfo& info : TensorTypes())
    types.Tensor(std::string(info.name), info.type, {info.block_elements});
  add("every_type", types.Bytes());
  ModelBytes dimensions;
  dimensions.Tensor("a", TensorType::kF32, {}).Tensor("b", TensorType::kF16, {2, 3});
  dimensions.Tensor("c", TensorType::kI8, {2, 1, 3}).Tensor("d", TensorType::kI64, {1, 2, 1, 2});
  add("every_dimension", dimensions.Bytes());
  ModelBytes aligned;
  aligned.alignment = 8;
  aligned.U32("general.alignment", 8).Tensor("a", TensorType::kI8, {3}).Tensor("b", TensorType::kI8, {5});
  add("aligned", aligned.Bytes());
  for (const ValueType element : {ValueType::kUint8, ValueType::kInt16, ValueType::kFloat32, ValueType::kFloat64,
                                  ValueType::kString, ValueType::kArray}) {
    add("array_of_" + std::string(NameOf(element)), ModelBytes().Array("a", element, 2, std::string(16, '\0')).Bytes());
    add("huge_array_of_" + std::string(NameOf(element)),
        ModelBytes().Array("a", element, std::uint64_t{1} << 63U, std::string(16, '\0')).Bytes());
  }
  add("long_text", ModelBytes().Text("a", std::string(kMaxKeptTextBytes + 1, 'x')).Bytes());
  add("huge_tensor", ModelBytes().RawTensor("a", {(std::uint64_t{1} << 62U), 2, 2}, 12, 0, 0).Bytes());
  add("wrong_offset", ModelBytes().Tensor("a", TensorType::kF32, {1}).RawTensor("b", {1}, 0, 4, 0).Bytes());
  ModelBytes part;
  part.Key("split.no", ValueType::kUint16, std::uint16_t{1}).Key("split.count", ValueType::kUint16, std::uint16_t{2});
  add("part_of_a_set", part.Bytes());
  // What models create writes, with as few tokens as there can be and without its weights.
  ModelShape shape = KnownShapes().front();
  shape.vocabulary_size = 300;
  shape.layer_count = 1;
  add("synthetic_header", SyntheticHeader(PlanModel(shape, QuantLevel::kQ4_K_M), 1));
  return corpus;
}

}  // namespace ballast::gguf

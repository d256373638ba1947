// GGUF files put together in memory, right or wrong in any place, for tests and for the corpus of the fuzzer.
#pragma once

#include <cstdint>
#include <cstring>
#include <functional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "common/gguf/model_file.h"

namespace ballast::gguf {

template <typename Number>
std::string LittleEndian(Number number) {
  static_assert(std::is_arithmetic_v<Number>);
  std::string bytes(sizeof number, '\0');
  std::memcpy(bytes.data(), &number, sizeof number);
  return bytes;
}

inline std::string LengthAndText(std::string_view text) {
  return LittleEndian(std::uint64_t{text.size()}) + std::string(text);
}

// Collects keys and tensors; Bytes() is the file. What is set wrong stays wrong.
class ModelBytes {
 public:
  std::string magic = "GGUF";
  std::uint32_t version = 3;
  std::uint32_t alignment = 32;
  // Instead of the right number.
  std::uint64_t extra_tensors = 0;
  std::uint64_t extra_keys = 0;

  ModelBytes& RawKey(std::string_view key, std::uint32_t type, std::string_view value) {
    keys_ += LengthAndText(key) + LittleEndian(type) + std::string(value);
    ++key_count_;
    return *this;
  }
  template <typename Number>
  ModelBytes& Key(std::string_view key, ValueType type, Number value) {
    return RawKey(key, static_cast<std::uint32_t>(type), LittleEndian(value));
  }
  ModelBytes& U32(std::string_view key, std::uint32_t value) { return Key(key, ValueType::kUint32, value); }
  ModelBytes& Text(std::string_view key, std::string_view value) {
    return RawKey(key, static_cast<std::uint32_t>(ValueType::kString), LengthAndText(value));
  }
  ModelBytes& Array(std::string_view key, ValueType element, std::uint64_t count, std::string_view elements) {
    return RawKey(key, static_cast<std::uint32_t>(ValueType::kArray),
                  LittleEndian(static_cast<std::uint32_t>(element)) + LittleEndian(count) + std::string(elements));
  }

  // A tensor at a place of its own choice, with as many bytes of data as it is given.
  ModelBytes& RawTensor(std::string_view name, const std::vector<std::uint64_t>& dimensions, std::uint32_t type,
                        std::uint64_t offset, std::uint64_t data_bytes) {
    tensors_ += LengthAndText(name) + LittleEndian(static_cast<std::uint32_t>(dimensions.size()));
    for (const std::uint64_t dimension : dimensions) tensors_ += LittleEndian(dimension);
    tensors_ += LittleEndian(type) + LittleEndian(offset);
    data_.resize(offset == next_offset_ ? next_offset_ + data_bytes : data_.size(), '\x5a');
    if (offset == next_offset_) next_offset_ = (data_.size() + alignment - 1) / alignment * alignment;
    ++tensor_count_;
    return *this;
  }
  ModelBytes& Tensor(std::string_view name, TensorType type, const std::vector<std::uint64_t>& dimensions) {
    std::uint64_t elements = 1;
    for (const std::uint64_t dimension : dimensions) elements *= dimension;
    return RawTensor(name, dimensions, static_cast<std::uint32_t>(type), next_offset_, *TensorBytes(type, elements));
  }

  [[nodiscard]] std::uint64_t next_offset() const { return next_offset_; }

  [[nodiscard]] std::string Bytes() const {
    std::string bytes = magic + LittleEndian(version) + LittleEndian(tensor_count_ + extra_tensors) +
                        LittleEndian(key_count_ + extra_keys) + keys_ + tensors_;
    bytes.resize((bytes.size() + alignment - 1) / alignment * alignment, '\0');
    return bytes + data_;
  }

 private:
  std::string keys_;
  std::string tensors_;
  std::string data_;
  std::uint64_t key_count_ = 0;
  std::uint64_t tensor_count_ = 0;
  std::uint64_t next_offset_ = 0;
};

// A small model with a value of every type, several tensors and padding between them.
inline ModelBytes SmallModel() {
  ModelBytes model;
  model.Text("general.architecture", "qwen2").Text("general.name", "小模型");
  model.U32("qwen2.block_count", 1).U32("qwen2.embedding_length", 256).U32("qwen2.feed_forward_length", 512);
  model.U32("qwen2.attention.head_count", 4).U32("qwen2.attention.head_count_kv", 2).U32("qwen2.context_length", 128);
  model.Key("a.u8", ValueType::kUint8, std::uint8_t{200}).Key("a.i8", ValueType::kInt8, std::int8_t{-2});
  model.Key("a.u16", ValueType::kUint16, std::uint16_t{60000}).Key("a.i16", ValueType::kInt16, std::int16_t{-3});
  model.Key("a.i32", ValueType::kInt32, std::int32_t{-4}).Key("a.u64", ValueType::kUint64, std::uint64_t{1} << 63U);
  model.Key("a.i64", ValueType::kInt64, std::int64_t{-5}).Key("a.f32", ValueType::kFloat32, 0.5F);
  model.Key("a.f64", ValueType::kFloat64, 0.25).Key("a.bool", ValueType::kBool, std::uint8_t{1});
  model.Array("tokenizer.ggml.tokens", ValueType::kString, 3,
              LengthAndText("a") + LengthAndText("") + LengthAndText("bc"));
  model.Array("tokenizer.ggml.token_type", ValueType::kInt32, 3,
              LittleEndian(std::int32_t{1}) + LittleEndian(std::int32_t{1}) + LittleEndian(std::int32_t{3}));
  model.Tensor("token_embd.weight", TensorType::kQ6_K, {256, 3});
  model.Tensor("blk.0.attn_norm.weight", TensorType::kF32, {5});
  model.Tensor("blk.0.ffn_down.weight", TensorType::kQ4_K, {256, 2});
  model.Tensor("output_norm.weight", TensorType::kF32, {3});
  return model;
}

}  // namespace ballast::gguf

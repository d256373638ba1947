// What a GGUF file says of itself: key-values and the inventory of tensors, read without trusting any of it.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "common/gguf/byte_source.h"
#include "common/gguf/tensor_type.h"

namespace ballast::gguf {

// The numbers are those in the file.
enum class ValueType : std::uint32_t {
  kUint8 = 0,
  kInt8 = 1,
  kUint16 = 2,
  kInt16 = 3,
  kUint32 = 4,
  kInt32 = 5,
  kFloat32 = 6,
  kBool = 7,
  kString = 8,
  kArray = 9,
  kUint64 = 10,
  kInt64 = 11,
  kFloat64 = 12,
};

// "u32", "string", …
[[nodiscard]] std::string_view NameOf(ValueType type);

// A value that was checked and stayed in the file: every array, and texts above kMaxKeptTextBytes (as bytes: kUint8).
struct ValueExtent {
  ValueType element_type = ValueType::kUint8;
  std::uint64_t count = 0;
  std::uint64_t position_bytes = 0;  // of the first element, from the beginning of the file
  std::uint64_t size_bytes = 0;      // of all elements, with the lengths before texts
};

struct KeyValue {
  std::string key;
  ValueType type = ValueType::kUint8;
  // Unsigned types, signed types, floating-point types, bool, text, what stayed in the file.
  std::variant<std::uint64_t, std::int64_t, double, bool, std::string, ValueExtent> value;
};

inline constexpr std::size_t kMaxDimensions = 4;

struct Tensor {
  std::string name;
  TensorType type = TensorType::kF32;
  std::uint32_t dimension_count = 1;
  // Elements in each dimension, the row's length first; 1 where there is none.
  std::array<std::uint64_t, kMaxDimensions> dimensions = {1, 1, 1, 1};
  std::uint64_t offset_bytes = 0;  // from the beginning of its part's data section
  std::uint64_t size_bytes = 0;    // without padding
  std::uint32_t part_index = 0;    // which file of ModelFile::parts has it

  // Product of the dimensions.
  [[nodiscard]] std::uint64_t element_count() const;
};

// One file of a model. All models but those that were split have one.
struct ModelPart {
  std::filesystem::path path;  // empty for one parsed from memory
  std::uint64_t file_size_bytes = 0;
  std::uint64_t header_size_bytes = 0;  // key-values and the list of tensors
  std::uint64_t data_offset_bytes = 0;  // where the data section begins
  std::uint32_t alignment_bytes = 32;
  std::uint64_t tensor_bytes = 0;  // without padding
};

// Value type. What a file claims has been checked against its size: every tensor lies inside its part.
struct ModelFile {
  std::uint32_t version = 0;           // of the format: 2 or 3
  std::uint32_t alignment_bytes = 32;  // of the first part
  std::vector<KeyValue> key_values;    // of the first part, in the file's order
  std::vector<Tensor> tensors;         // in the file's order, part by part
  std::vector<ModelPart> parts;
  std::uint64_t file_size_bytes = 0;  // of all parts
  std::uint64_t tensor_bytes = 0;     // of all parts, without padding

  // Null where there is no such key, no such tensor.
  [[nodiscard]] const KeyValue* Find(std::string_view key) const;
  [[nodiscard]] const Tensor* FindTensor(std::string_view name) const;

  // The value of a key that has one of the right kind: any whole number that is not negative, any number, a text, a
  // bool, anything that stayed in the file.
  [[nodiscard]] std::optional<std::uint64_t> Unsigned(std::string_view key) const;
  [[nodiscard]] std::optional<double> Number(std::string_view key) const;
  [[nodiscard]] std::optional<std::string_view> Text(std::string_view key) const;
  [[nodiscard]] std::optional<bool> Bool(std::string_view key) const;
  [[nodiscard]] const ValueExtent* Extent(std::string_view key) const;

  // Where a tensor begins in its part's file.
  [[nodiscard]] std::uint64_t PositionOf(const Tensor& tensor) const;
};

// Limits that no real model comes near; they bound the memory and the time that a hostile file can cost.
inline constexpr std::uint64_t kMaxKeyValues = 1U << 16U;
inline constexpr std::uint64_t kMaxTensors = 1U << 17U;
inline constexpr std::uint64_t kMaxKeyBytes = (1U << 16U) - 1;
inline constexpr std::uint64_t kMaxTensorNameBytes = 63;  // as in ggml
inline constexpr std::uint64_t kMaxKeptTextBytes = 1U << 16U;
inline constexpr std::uint64_t kMaxKeptBytes = 64U << 20U;  // keys, texts and tensor names together
inline constexpr std::uint64_t kMaxHeaderBytes = 1U << 30U;
inline constexpr std::uint64_t kMaxParts = 1024;

// Parses one file from its bytes; `parts` has one entry, without a path. Reads no tensor data and nothing outside the
// header, through one buffer of 64 KiB. INVALID_ARGUMENT: no GGUF file, another version or byte order, something that
// the format does not allow, an unknown tensor type; DATA_LOSS: the bytes end too early, in the header or in the data
// section; otherwise the source's errors. The message says what is wrong and in which key or tensor. Alone it takes no
// notice of `split.count`: ReadModelFile does.
[[nodiscard]] absl::StatusOr<ModelFile> ParseModelFile(ByteSource& source);

// Reads the file at `path`, and where it is one of a set NAME-00001-of-0000N.gguf the whole set, whichever of them
// `path` names. Codes as ParseModelFile and base::OpenFile, the path before the message. NOT_FOUND names the file of
// the set that is missing. Thread-safe.
[[nodiscard]] absl::StatusOr<ModelFile> ReadModelFile(const std::filesystem::path& path);

}  // namespace ballast::gguf

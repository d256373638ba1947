#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <limits>
#include <span>
#include <unordered_set>

#include <fmt/format.h>

#include "common/base/status.h"
#include "common/base/text.h"
#include "common/gguf/model_file.h"

namespace ballast::gguf {
namespace {

static_assert(std::endian::native == std::endian::little, "numbers in the file are copied as they are");

constexpr std::uint64_t kMostBytes = std::numeric_limits<std::int64_t>::max();
constexpr std::string_view kAlignmentKey = "general.alignment";

// What else people take for a model file, by its first bytes.
struct OtherFormat {
  std::string_view beginning;
  std::string_view what;
};
constexpr std::array<OtherFormat, 8> kOtherFormats = {{
    {"FUGG", "a big-endian GGUF file; only little-endian ones are read"},
    {"lmgg", "a GGML file, older than GGUF; convert it first"},
    {"fmgg", "a GGMF file, older than GGUF; convert it first"},
    {"tjgg", "a GGJT file, older than GGUF; convert it first"},
    {"version https://git-lfs", "a Git LFS pointer, not the model itself; fetch it with git lfs pull"},
    {"<!", "a web page, not a model; look at what was downloaded"},
    {"<html", "a web page, not a model; look at what was downloaded"},
    {"PK\x03\x04", "a ZIP archive (or a PyTorch checkpoint), not a GGUF file"},
}};

// Bytes of one element of a type with a fixed size; 0 for text and arrays.
std::uint64_t FixedBytes(ValueType type) {
  switch (type) {
    case ValueType::kUint8:
    case ValueType::kInt8:
    case ValueType::kBool:
      return 1;
    case ValueType::kUint16:
    case ValueType::kInt16:
      return 2;
    case ValueType::kUint32:
    case ValueType::kInt32:
    case ValueType::kFloat32:
      return 4;
    case ValueType::kUint64:
    case ValueType::kInt64:
    case ValueType::kFloat64:
      return 8;
    case ValueType::kString:
    case ValueType::kArray:
      return 0;
  }
  return 0;
}

// Reads on through the header, in one buffer. Knows where it is, for messages.
class HeaderReader {
 public:
  explicit HeaderReader(ByteSource& source) : source_(source), end_(std::min(source.size_bytes(), kMaxHeaderBytes)) {}

  [[nodiscard]] std::uint64_t position() const { return position_; }

  // What is being read now: `entry` 0 for the beginning of the file. `kind` must outlive the reader.
  void Enter(std::string_view kind, std::uint64_t number) {
    kind_ = kind;
    number_ = number;
    name_.clear();
  }
  void SetName(std::string_view name) { name_ = name; }

  // INVALID_ARGUMENT with the place.
  [[nodiscard]] absl::Status Refuse(std::string_view problem) const {
    return absl::InvalidArgumentError(fmt::format("{}: {}", Place(), problem));
  }

  // Makes sure that `bytes` more are there. `what` is what they would hold.
  [[nodiscard]] absl::Status Need(std::uint64_t bytes, std::string_view what) const {
    if (bytes <= end_ - position_) return absl::OkStatus();
    if (bytes > kMaxHeaderBytes || source_.size_bytes() > kMaxHeaderBytes) {
      return Refuse(fmt::format("{} of {} bytes at byte {} is beyond the {} bytes that a header may have", what, bytes,
                                position_, kMaxHeaderBytes));
    }
    return absl::DataLossError(fmt::format("truncated in {}: {} needs {} bytes at byte {}, where the file has {} left",
                                           Place(), what, bytes, position_, end_ - position_));
  }

  [[nodiscard]] absl::Status Copy(std::span<char> target, std::string_view what) {
    BALLAST_RETURN_IF_ERROR(Need(target.size(), what));
    while (!target.empty()) {
      if (position_ < buffer_begin_ || position_ >= buffer_begin_ + buffered_) BALLAST_RETURN_IF_ERROR(Fill());
      const std::size_t from = static_cast<std::size_t>(position_ - buffer_begin_);
      const std::size_t n = std::min(target.size(), buffered_ - from);
      std::memcpy(target.data(), buffer_.data() + from, n);
      target = target.subspan(n);
      position_ += n;
    }
    return absl::OkStatus();
  }

  [[nodiscard]] absl::Status Skip(std::uint64_t bytes, std::string_view what) {
    BALLAST_RETURN_IF_ERROR(Need(bytes, what));
    position_ += bytes;
    return absl::OkStatus();
  }

  template <typename Number>
  [[nodiscard]] absl::StatusOr<Number> Read(std::string_view what) {
    std::array<char, sizeof(Number)> bytes{};
    BALLAST_RETURN_IF_ERROR(Copy(bytes, what));
    return std::bit_cast<Number>(bytes);
  }

  // A text that is kept: no memory is taken before its bytes are known to be there.
  [[nodiscard]] absl::StatusOr<std::string> ReadText(std::uint64_t length, std::string_view what) {
    BALLAST_RETURN_IF_ERROR(Need(length, what));
    kept_ += length;
    if (kept_ > kMaxKeptBytes)
      return Refuse(fmt::format("keys, texts and names take more than {} bytes", kMaxKeptBytes));
    std::string text(length, '\0');
    BALLAST_RETURN_IF_ERROR(Copy(text, what));
    return text;
  }

 private:
  [[nodiscard]] std::string Place() const {
    if (number_ == 0) return std::string(kind_);
    return name_.empty() ? fmt::format("{} {}", kind_, number_)
                         : fmt::format("{} {} {}", kind_, number_, base::Quoted(name_));
  }

  absl::Status Fill() {
    BALLAST_ASSIGN_OR_RETURN(buffered_, source_.ReadAt(position_, buffer_));
    buffer_begin_ = position_;
    if (buffered_ > 0) return absl::OkStatus();
    return absl::DataLossError(
        fmt::format("truncated in {}: the file became shorter than {} bytes while it was read", Place(), end_));
  }

  ByteSource& source_;
  const std::uint64_t end_;
  std::uint64_t position_ = 0;
  std::uint64_t kept_ = 0;
  std::string_view kind_ = "the first bytes";
  std::uint64_t number_ = 0;
  std::string name_;
  std::vector<char> buffer_ = std::vector<char>(64U << 10U);
  std::uint64_t buffer_begin_ = 0;
  std::size_t buffered_ = 0;
};

absl::Status CheckMagic(HeaderReader& reader, ByteSource& source) {
  std::array<char, 32> beginning{};
  BALLAST_ASSIGN_OR_RETURN(const std::size_t size, source.ReadAt(0, beginning));
  const std::string_view text(beginning.data(), size);
  if (text.empty()) return absl::DataLossError("the file is empty");
  if (text.starts_with("GGUF")) return reader.Skip(4, "the magic");
  for (const OtherFormat& other : kOtherFormats) {
    if (text.starts_with(other.beginning)) return absl::InvalidArgumentError(fmt::format("this is {}", other.what));
  }
  if (std::string_view("GGUF").starts_with(text)) {
    return absl::DataLossError(fmt::format("truncated in the magic: the file has {} bytes", text.size()));
  }
  return absl::InvalidArgumentError(
      fmt::format("not a GGUF file: it begins with {} instead of 'GGUF'", base::Quoted(text.substr(0, 4))));
}

absl::StatusOr<std::uint32_t> ReadVersion(HeaderReader& reader) {
  BALLAST_ASSIGN_OR_RETURN(const std::uint32_t version, reader.Read<std::uint32_t>("the version"));
  if (version == 2 || version == 3) return version;
  // No version has ever come near 2^16: then the bytes stand in the other order.
  if (version != 0 && (version & 0xffffU) == 0) {
    return absl::InvalidArgumentError("this is a big-endian GGUF file; only little-endian ones are read");
  }
  return absl::InvalidArgumentError(fmt::format("GGUF version {}; versions 2 and 3 are read{}", version,
                                                version == 1 ? "; convert the file with a newer llama.cpp" : ""));
}

absl::StatusOr<std::uint64_t> ReadCount(HeaderReader& reader, std::string_view what, std::uint64_t most) {
  BALLAST_ASSIGN_OR_RETURN(const std::uint64_t count,
                           reader.Read<std::uint64_t>(fmt::format("the number of {}", what)));
  if (count <= most) return count;
  return absl::InvalidArgumentError(fmt::format("says that it has {} {}; at most {} are read", count, what, most));
}

absl::StatusOr<ValueType> ReadValueType(HeaderReader& reader, std::string_view what) {
  BALLAST_ASSIGN_OR_RETURN(const std::uint32_t id, reader.Read<std::uint32_t>(what));
  if (id > static_cast<std::uint32_t>(ValueType::kFloat64)) {
    return reader.Refuse(fmt::format("{} is {}, which is no type of a value (0 to 12)", what, id));
  }
  return static_cast<ValueType>(id);
}

absl::StatusOr<ValueExtent> ReadArray(HeaderReader& reader) {
  ValueExtent extent;
  BALLAST_ASSIGN_OR_RETURN(extent.element_type, ReadValueType(reader, "the type of the array's elements"));
  // The runtimes refuse these as well, and nesting without end could not be followed.
  if (extent.element_type == ValueType::kArray) return reader.Refuse("an array of arrays, which is not supported");
  BALLAST_ASSIGN_OR_RETURN(extent.count, reader.Read<std::uint64_t>("the array's length"));
  extent.position_bytes = reader.position();
  if (const std::uint64_t each = FixedBytes(extent.element_type); each > 0) {
    if (extent.count > kMaxHeaderBytes / each) {
      return reader.Refuse(fmt::format("an array of {} elements is beyond the {} bytes that a header may have",
                                       extent.count, kMaxHeaderBytes));
    }
    BALLAST_RETURN_IF_ERROR(reader.Skip(extent.count * each, "the array"));
  } else {
    if (extent.count > kMaxHeaderBytes / sizeof(std::uint64_t)) {
      return reader.Refuse(fmt::format("an array of {} texts is beyond the {} bytes that a header may have",
                                       extent.count, kMaxHeaderBytes));
    }
    // Each has its length at least: an array cut off is found before its texts are gone through.
    BALLAST_RETURN_IF_ERROR(reader.Need(extent.count * sizeof(std::uint64_t), "the array"));
    for (std::uint64_t i = 0; i < extent.count; ++i) {
      BALLAST_ASSIGN_OR_RETURN(const std::uint64_t length,
                               reader.Read<std::uint64_t>("the length of a text in the array"));
      BALLAST_RETURN_IF_ERROR(reader.Skip(length, "a text in the array"));
    }
  }
  extent.size_bytes = reader.position() - extent.position_bytes;
  return extent;
}

template <typename Wide, typename Number>
absl::Status ReadNumber(HeaderReader& reader, KeyValue* entry) {
  BALLAST_ASSIGN_OR_RETURN(const Number number, reader.Read<Number>("the value"));
  entry->value = static_cast<Wide>(number);
  return absl::OkStatus();
}

absl::Status ReadText(HeaderReader& reader, KeyValue* entry) {
  BALLAST_ASSIGN_OR_RETURN(const std::uint64_t length, reader.Read<std::uint64_t>("the length of the text"));
  if (length > kMaxKeptTextBytes) {
    entry->value = ValueExtent{ValueType::kUint8, length, reader.position(), length};
    return reader.Skip(length, "the text");
  }
  BALLAST_ASSIGN_OR_RETURN(entry->value, reader.ReadText(length, "the text"));
  return absl::OkStatus();
}

absl::Status ReadValue(HeaderReader& reader, KeyValue* entry) {
  switch (entry->type) {
    case ValueType::kUint8:
      return ReadNumber<std::uint64_t, std::uint8_t>(reader, entry);
    case ValueType::kUint16:
      return ReadNumber<std::uint64_t, std::uint16_t>(reader, entry);
    case ValueType::kUint32:
      return ReadNumber<std::uint64_t, std::uint32_t>(reader, entry);
    case ValueType::kUint64:
      return ReadNumber<std::uint64_t, std::uint64_t>(reader, entry);
    case ValueType::kInt8:
      return ReadNumber<std::int64_t, std::int8_t>(reader, entry);
    case ValueType::kInt16:
      return ReadNumber<std::int64_t, std::int16_t>(reader, entry);
    case ValueType::kInt32:
      return ReadNumber<std::int64_t, std::int32_t>(reader, entry);
    case ValueType::kInt64:
      return ReadNumber<std::int64_t, std::int64_t>(reader, entry);
    case ValueType::kFloat32:
      return ReadNumber<double, float>(reader, entry);
    case ValueType::kFloat64:
      return ReadNumber<double, double>(reader, entry);
    case ValueType::kBool: {
      BALLAST_ASSIGN_OR_RETURN(const std::uint8_t value, reader.Read<std::uint8_t>("the value"));
      if (value > 1) return reader.Refuse(fmt::format("{} is neither true (1) nor false (0)", value));
      entry->value = value == 1;
      return absl::OkStatus();
    }
    case ValueType::kString:
      return ReadText(reader, entry);
    case ValueType::kArray: {
      BALLAST_ASSIGN_OR_RETURN(entry->value, ReadArray(reader));
      return absl::OkStatus();
    }
  }
  return absl::OkStatus();
}

// A key or a tensor's name: of a sane length, not empty, UTF-8.
absl::StatusOr<std::string> ReadName(HeaderReader& reader, std::string_view what, std::uint64_t most) {
  BALLAST_ASSIGN_OR_RETURN(const std::uint64_t length,
                           reader.Read<std::uint64_t>(fmt::format("the length of {}", what)));
  if (length == 0) return reader.Refuse(fmt::format("{} is empty", what));
  if (length > most) return reader.Refuse(fmt::format("{} has {} bytes; at most {} are allowed", what, length, most));
  BALLAST_ASSIGN_OR_RETURN(std::string name, reader.ReadText(length, what));
  reader.SetName(name);
  if (base::FindInvalidUtf8(name) != std::string::npos) return reader.Refuse(fmt::format("{} is no UTF-8", what));
  return name;
}

absl::Status ReadKeyValues(HeaderReader& reader, std::uint64_t count, ModelFile* model) {
  std::unordered_set<std::string> seen;
  for (std::uint64_t i = 1; i <= count; ++i) {
    reader.Enter("key", i);
    KeyValue entry;
    BALLAST_ASSIGN_OR_RETURN(entry.key, ReadName(reader, "its name", kMaxKeyBytes));
    if (!seen.insert(entry.key).second) return reader.Refuse("stands twice in the file");
    BALLAST_ASSIGN_OR_RETURN(entry.type, ReadValueType(reader, "the type of the value"));
    BALLAST_RETURN_IF_ERROR(ReadValue(reader, &entry));
    if (entry.key == kAlignmentKey) {
      const auto* const alignment = std::get_if<std::uint64_t>(&entry.value);
      if (alignment == nullptr || entry.type != ValueType::kUint32) {
        return reader.Refuse(fmt::format("the alignment is of type {}; it must be u32", NameOf(entry.type)));
      }
      if (!std::has_single_bit(*alignment)) {
        return reader.Refuse(fmt::format("the alignment is {}; it must be a power of two", *alignment));
      }
      model->alignment_bytes = static_cast<std::uint32_t>(*alignment);
    }
    model->key_values.push_back(std::move(entry));
  }
  return absl::OkStatus();
}

// The size of a tensor from its type and dimensions, all of which come from the file.
absl::Status SetSize(const HeaderReader& reader, Tensor* tensor) {
  std::uint64_t elements = 1;
  for (std::uint32_t i = 0; i < tensor->dimension_count; ++i) {
    const std::uint64_t dimension = tensor->dimensions[i];
    if (dimension == 0 || dimension > kMostBytes) {
      return reader.Refuse(fmt::format("dimension {} is {}; it must be between 1 and 2^63 - 1", i + 1, dimension));
    }
    if (elements > kMostBytes / dimension) return reader.Refuse("the product of its dimensions is above 2^63 - 1");
    elements *= dimension;
  }
  const TensorTypeInfo& info = InfoOf(tensor->type);
  if (tensor->dimensions[0] % info.block_elements != 0) {
    return reader.Refuse(fmt::format("rows of {} elements are no whole number of {} blocks of {}",
                                     tensor->dimensions[0], info.name, info.block_elements));
  }
  const std::optional<std::uint64_t> bytes = TensorBytes(tensor->type, elements);
  if (!bytes) return reader.Refuse(fmt::format("{} elements of {} are more than 2^63 - 1 bytes", elements, info.name));
  tensor->size_bytes = *bytes;
  return absl::OkStatus();
}

absl::StatusOr<Tensor> ReadTensor(HeaderReader& reader) {
  Tensor tensor;
  BALLAST_ASSIGN_OR_RETURN(tensor.name, ReadName(reader, "its name", kMaxTensorNameBytes));
  BALLAST_ASSIGN_OR_RETURN(tensor.dimension_count, reader.Read<std::uint32_t>("the number of dimensions"));
  if (tensor.dimension_count > kMaxDimensions) {
    return reader.Refuse(
        fmt::format("it has {} dimensions; at most {} are allowed", tensor.dimension_count, kMaxDimensions));
  }
  for (std::uint32_t i = 0; i < tensor.dimension_count; ++i) {
    BALLAST_ASSIGN_OR_RETURN(tensor.dimensions[i], reader.Read<std::uint64_t>("a dimension"));
  }
  BALLAST_ASSIGN_OR_RETURN(const std::uint32_t type, reader.Read<std::uint32_t>("the type"));
  if (FindTensorType(type) == nullptr) {
    return reader.Refuse(fmt::format("its type is {}", DescribeUnknownTensorType(type)));
  }
  tensor.type = static_cast<TensorType>(type);
  BALLAST_RETURN_IF_ERROR(SetSize(reader, &tensor));
  BALLAST_ASSIGN_OR_RETURN(tensor.offset_bytes, reader.Read<std::uint64_t>("the offset"));
  return tensor;
}

// `value` rounded up to the alignment; nothing beyond 63 bits.
std::optional<std::uint64_t> Padded(std::uint64_t value, std::uint64_t alignment) {
  if (value > kMostBytes - (alignment - 1)) return std::nullopt;
  return (value + alignment - 1) / alignment * alignment;
}

// Reads the list of tensors, and leaves where the last one's data end, from the beginning of the data section.
absl::StatusOr<std::uint64_t> ReadTensors(HeaderReader& reader, std::uint64_t count, ModelFile* model) {
  std::unordered_set<std::string> seen;
  std::uint64_t next_offset = 0;
  std::uint64_t end = 0;
  for (std::uint64_t i = 1; i <= count; ++i) {
    reader.Enter("tensor", i);
    BALLAST_ASSIGN_OR_RETURN(Tensor tensor, ReadTensor(reader));
    if (!seen.insert(tensor.name).second) return reader.Refuse("stands twice in the file");
    if (tensor.offset_bytes != next_offset) {
      return reader.Refuse(fmt::format("its data begin at {}; after what stands before it must be {}",
                                       tensor.offset_bytes, next_offset));
    }
    const std::optional<std::uint64_t> padded = Padded(tensor.size_bytes, model->alignment_bytes);
    if (!padded || *padded > kMostBytes - next_offset) {
      return reader.Refuse("the sizes of the tensors add up to more than 2^63 - 1 bytes");
    }
    end = next_offset + tensor.size_bytes;
    next_offset += *padded;
    model->tensor_bytes += tensor.size_bytes;
    model->tensors.push_back(std::move(tensor));
  }
  return end;
}

// Every tensor must lie inside the file.
absl::Status CheckData(const ModelFile& model, std::uint64_t data_end) {
  const ModelPart& part = model.parts.front();
  const std::uint64_t available = part.file_size_bytes - std::min(part.file_size_bytes, part.data_offset_bytes);
  if (data_end <= available) return absl::OkStatus();
  const auto cut = std::find_if(model.tensors.begin(), model.tensors.end(), [available](const Tensor& tensor) {
    return tensor.offset_bytes + tensor.size_bytes > available;
  });
  const std::uint64_t needed =
      data_end > kMostBytes - part.data_offset_bytes ? kMostBytes : part.data_offset_bytes + data_end;
  return absl::DataLossError(fmt::format("truncated: {} of {} bytes are missing, from tensor {} {} on",
                                         needed - part.file_size_bytes, needed, cut - model.tensors.begin() + 1,
                                         base::Quoted(cut->name)));
}

}  // namespace

absl::StatusOr<ModelFile> ParseModelFile(ByteSource& source) {
  HeaderReader reader(source);
  ModelFile model;
  BALLAST_RETURN_IF_ERROR(CheckMagic(reader, source));
  BALLAST_ASSIGN_OR_RETURN(model.version, ReadVersion(reader));
  BALLAST_ASSIGN_OR_RETURN(const std::uint64_t tensor_count, ReadCount(reader, "tensors", kMaxTensors));
  BALLAST_ASSIGN_OR_RETURN(const std::uint64_t key_count, ReadCount(reader, "keys", kMaxKeyValues));
  BALLAST_RETURN_IF_ERROR(ReadKeyValues(reader, key_count, &model));
  BALLAST_ASSIGN_OR_RETURN(const std::uint64_t data_end, ReadTensors(reader, tensor_count, &model));
  ModelPart part;
  part.file_size_bytes = source.size_bytes();
  part.header_size_bytes = reader.position();
  part.alignment_bytes = model.alignment_bytes;
  // The header ends below 2^30 and the alignment is below 2^32.
  part.data_offset_bytes = *Padded(part.header_size_bytes, part.alignment_bytes);
  part.tensor_bytes = model.tensor_bytes;
  model.file_size_bytes = part.file_size_bytes;
  model.parts.push_back(std::move(part));
  BALLAST_RETURN_IF_ERROR(CheckData(model, data_end));
  return model;
}

}  // namespace ballast::gguf

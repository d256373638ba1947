#include "common/gguf/synthetic_header.h"

#include <array>
#include <bit>
#include <cstring>
#include <string_view>
#include <type_traits>
#include <vector>

#include <fmt/format.h>

namespace ballast::gguf {
namespace {

static_assert(std::endian::native == std::endian::little, "numbers are written as they are");

constexpr std::uint32_t kFormatVersion = 3;
constexpr std::uint32_t kAlignmentBytes = 32;
constexpr std::array<std::string_view, 3> kControlTokens = {"<|endoftext|>", "<|im_start|>", "<|im_end|>"};

// `enum llama_token_type`.
constexpr std::int32_t kNormalToken = 1;
constexpr std::int32_t kControlToken = 3;

// Appends key-values and counts them.
class KeyWriter {
 public:
  [[nodiscard]] std::uint64_t count() const { return count_; }
  [[nodiscard]] const std::string& bytes() const { return bytes_; }

  void AddText(std::string_view key, std::string_view value) {
    Begin(key, ValueType::kString);
    AppendText(value);
  }
  void AddU32(std::string_view key, std::uint32_t value) { AddNumber(key, ValueType::kUint32, value); }
  void AddU64(std::string_view key, std::uint64_t value) { AddNumber(key, ValueType::kUint64, value); }
  void AddF32(std::string_view key, float value) { AddNumber(key, ValueType::kFloat32, value); }
  void AddBool(std::string_view key, bool value) { AddNumber(key, ValueType::kBool, static_cast<std::uint8_t>(value)); }
  void AddArray(std::string_view key, const std::vector<std::string>& values) {
    BeginArray(key, ValueType::kString, values.size());
    for (const std::string& value : values) AppendText(value);
  }
  void AddArray(std::string_view key, const std::vector<std::int32_t>& values) {
    BeginArray(key, ValueType::kInt32, values.size());
    for (const std::int32_t value : values) Append(value);
  }

  template <typename Number>
  void Append(Number value) {
    static_assert(std::is_arithmetic_v<Number>);
    std::array<char, sizeof value> raw{};
    std::memcpy(raw.data(), &value, sizeof value);
    bytes_.append(raw.data(), raw.size());
  }
  void AppendText(std::string_view text) {
    Append(std::uint64_t{text.size()});
    bytes_.append(text);
  }

 private:
  void Begin(std::string_view key, ValueType type) {
    AppendText(key);
    Append(static_cast<std::uint32_t>(type));
    ++count_;
  }
  void BeginArray(std::string_view key, ValueType element, std::size_t count) {
    Begin(key, ValueType::kArray);
    Append(static_cast<std::uint32_t>(element));
    Append(std::uint64_t{count});
  }
  template <typename Number>
  void AddNumber(std::string_view key, ValueType type, Number value) {
    Begin(key, type);
    Append(value);
  }

  std::string bytes_;
  std::uint64_t count_ = 0;
};

// The character that stands for a byte in byte-level BPE vocabularies (GPT-2's `bytes_to_unicode`): printable ones for
// themselves, the others by characters from U+0100 on.
std::vector<std::string> ByteTokens() {
  std::vector<std::string> tokens;
  std::uint32_t next = 0x100;
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    const bool printable = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
    const std::uint32_t code = printable ? byte : next++;
    std::string token;
    if (code < 0x80) {
      token += static_cast<char>(code);
    } else {
      token += static_cast<char>(0xc0U | (code >> 6U));
      token += static_cast<char>(0x80U | (code & 0x3fU));
    }
    tokens.push_back(std::move(token));
  }
  return tokens;
}

void AddTokenizer(std::size_t vocabulary_size, KeyWriter* keys) {
  std::vector<std::string> tokens = ByteTokens();
  std::vector<std::string> merges;
  // Each word of letters grows by each letter in its turn: shorter words stand first, and so do their merges.
  std::vector<std::string> words;
  for (char letter = 'a'; letter <= 'z'; ++letter) words.emplace_back(1, letter);
  const std::size_t end = vocabulary_size - kControlTokens.size();
  for (std::size_t i = 0; tokens.size() < end; ++i) {
    for (char letter = 'a'; letter <= 'z' && tokens.size() < end; ++letter) {
      merges.push_back(fmt::format("{} {}", words[i], letter));
      tokens.push_back(words[i] + letter);
      words.push_back(tokens.back());
    }
  }
  std::vector<std::int32_t> types(vocabulary_size, kNormalToken);
  for (const std::string_view control : kControlTokens) {
    types[tokens.size()] = kControlToken;
    tokens.emplace_back(control);
  }
  keys->AddText("tokenizer.ggml.model", "gpt2");
  keys->AddText("tokenizer.ggml.pre", "qwen2");
  keys->AddArray("tokenizer.ggml.tokens", tokens);
  keys->AddArray("tokenizer.ggml.token_type", types);
  keys->AddArray("tokenizer.ggml.merges", merges);
  const auto end_of_text = static_cast<std::uint32_t>(end);
  keys->AddU32("tokenizer.ggml.bos_token_id", end_of_text);
  keys->AddU32("tokenizer.ggml.eos_token_id", end_of_text + 2);
  keys->AddU32("tokenizer.ggml.padding_token_id", end_of_text);
  keys->AddBool("tokenizer.ggml.add_bos_token", false);
}

void AddKeys(const ModelPlan& plan, std::uint64_t seed, KeyWriter* keys) {
  const ModelShape& shape = plan.shape;
  const auto key = [&shape](std::string_view name) { return fmt::format("{}.{}", shape.architecture, name); };
  keys->AddText("general.architecture", shape.architecture);
  keys->AddText("general.type", "model");
  keys->AddText("general.name", fmt::format("{} (synthetic)", shape.name));
  keys->AddU32("general.file_type", FileTypeOf(plan.level));
  keys->AddU32("general.quantization_version", 2);
  keys->AddU32(kSyntheticVersionKey, kSyntheticVersion);
  keys->AddU64(kSyntheticSeedKey, seed);
  keys->AddU32(key("block_count"), shape.layer_count);
  keys->AddU32(key("context_length"), shape.context_length);
  keys->AddU32(key("embedding_length"), shape.embedding_length);
  keys->AddU32(key("feed_forward_length"), shape.feed_forward_length);
  keys->AddU32(key("attention.head_count"), shape.head_count);
  keys->AddU32(key("attention.head_count_kv"), shape.kv_head_count);
  keys->AddF32(key("attention.layer_norm_rms_epsilon"), static_cast<float>(shape.rms_epsilon));
  keys->AddF32(key("rope.freq_base"), static_cast<float>(shape.rope_frequency_base));
  AddTokenizer(shape.vocabulary_size, keys);
}

}  // namespace

std::string SyntheticHeader(const ModelPlan& plan, std::uint64_t seed) {
  KeyWriter keys;
  AddKeys(plan, seed, &keys);
  KeyWriter header;
  header.Append('G');
  header.Append('G');
  header.Append('U');
  header.Append('F');
  header.Append(kFormatVersion);
  header.Append(std::uint64_t{plan.tensors.size()});
  header.Append(keys.count());
  std::string bytes = header.bytes() + keys.bytes();
  KeyWriter tensors;
  for (const Tensor& tensor : plan.tensors) {
    tensors.AppendText(tensor.name);
    tensors.Append(tensor.dimension_count);
    for (std::uint32_t i = 0; i < tensor.dimension_count; ++i) tensors.Append(tensor.dimensions[i]);
    tensors.Append(static_cast<std::uint32_t>(tensor.type));
    tensors.Append(tensor.offset_bytes);
  }
  bytes += tensors.bytes();
  bytes.resize((bytes.size() + kAlignmentBytes - 1) / kAlignmentBytes * kAlignmentBytes, '\0');
  return bytes;
}

}  // namespace ballast::gguf

#include "common/gguf/synthetic_header.h"

#include <algorithm>
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
constexpr std::uint64_t kLetters = 26;
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

struct Tokenizer {
  std::vector<std::string> tokens;
  std::vector<std::int32_t> types;
  std::vector<std::string> merges;
};

Tokenizer MakeTokenizer(std::size_t vocabulary_size) {
  Tokenizer made;
  std::vector<std::string>& tokens = made.tokens;
  tokens = ByteTokens();
  // Each word of letters grows by each letter in its turn: shorter words stand first, and so do their merges.
  std::vector<std::string> words;
  for (char letter = 'a'; letter <= 'z'; ++letter) words.emplace_back(1, letter);
  const std::size_t end = vocabulary_size - kControlTokens.size();
  for (std::size_t i = 0; tokens.size() < end; ++i) {
    for (char letter = 'a'; letter <= 'z' && tokens.size() < end; ++letter) {
      made.merges.push_back(fmt::format("{} {}", words[i], letter));
      tokens.push_back(words[i] + letter);
      words.push_back(tokens.back());
    }
  }
  made.types.assign(vocabulary_size, kNormalToken);
  for (const std::string_view control : kControlTokens) {
    made.types[tokens.size()] = kControlToken;
    tokens.emplace_back(control);
  }
  return made;
}

// What the elements of that tokenizer's arrays take in the header.
std::uint64_t TokenizerBytes(std::uint64_t vocabulary_size) {
  const auto text_bytes = [](std::uint64_t length) { return sizeof(std::uint64_t) + length; };
  std::uint64_t bytes = vocabulary_size * sizeof(std::int32_t);
  std::uint64_t named = kControlTokens.size();
  for (const std::string_view control : kControlTokens) bytes += text_bytes(control.size());
  for (const std::string& token : ByteTokens()) {
    bytes += text_bytes(token.size());
    ++named;
  }
  // 26² words of two letters, 26³ of three, …, each with a merge that has a space more.
  std::uint64_t left = vocabulary_size - std::min(vocabulary_size, named);
  std::uint64_t words = kLetters * kLetters;
  for (std::uint64_t length = 2; left > 0; ++length, words *= kLetters) {
    const std::uint64_t count = std::min(left, words);
    bytes += count * (text_bytes(length) + text_bytes(length + 1));
    left -= count;
  }
  return bytes;
}

void AddTokenizer(const Tokenizer& tokenizer, std::uint32_t vocabulary_size, KeyWriter* keys) {
  keys->AddText("tokenizer.ggml.model", "gpt2");
  keys->AddText("tokenizer.ggml.pre", "qwen2");
  keys->AddArray("tokenizer.ggml.tokens", tokenizer.tokens);
  keys->AddArray("tokenizer.ggml.token_type", tokenizer.types);
  keys->AddArray("tokenizer.ggml.merges", tokenizer.merges);
  const auto end_of_text = vocabulary_size - static_cast<std::uint32_t>(kControlTokens.size());
  keys->AddU32("tokenizer.ggml.bos_token_id", end_of_text);
  keys->AddU32("tokenizer.ggml.eos_token_id", end_of_text + 2);
  keys->AddU32("tokenizer.ggml.padding_token_id", end_of_text);
  keys->AddBool("tokenizer.ggml.add_bos_token", false);
}

void AddKeys(const ModelPlan& plan, std::uint64_t seed, const Tokenizer& tokenizer, KeyWriter* keys) {
  const ModelShape& shape = plan.shape;
  const auto key = [&shape](std::string_view name) { return fmt::format("{}.{}", shape.architecture, name); };
  keys->AddText("general.architecture", shape.architecture);
  keys->AddText("general.type", "model");
  keys->AddText("general.name", SyntheticName(shape));
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
  AddTokenizer(tokenizer, shape.vocabulary_size, keys);
}

std::uint64_t Padded(std::uint64_t bytes) {
  return (bytes + kAlignmentBytes - 1) / kAlignmentBytes * kAlignmentBytes;
}

// Without the padding.
std::string HeaderOf(const ModelPlan& plan, std::uint64_t seed, const Tokenizer& tokenizer) {
  KeyWriter keys;
  AddKeys(plan, seed, tokenizer, &keys);
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
  return bytes + tensors.bytes();
}

}  // namespace

std::string SyntheticHeader(const ModelPlan& plan, std::uint64_t seed) {
  std::string bytes = HeaderOf(plan, seed, MakeTokenizer(plan.shape.vocabulary_size));
  bytes.resize(Padded(bytes.size()), '\0');
  return bytes;
}

std::uint64_t SyntheticHeaderBytes(const ModelPlan& plan) {
  return Padded(HeaderOf(plan, 0, {}).size() + TokenizerBytes(plan.shape.vocabulary_size));
}

std::string SyntheticName(const ModelShape& shape) {
  return fmt::format("{} (synthetic)", shape.name);
}

}  // namespace ballast::gguf

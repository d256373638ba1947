#include "common/gguf/model_shape.h"

#include <algorithm>
#include <array>
#include <limits>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "absl/strings/match.h"
#include "common/base/status.h"
#include "common/base/text.h"

namespace ballast::gguf {
namespace {

// name, architecture, layers, embedding, feed-forward, heads, KV heads, head dimension, vocabulary, context, tied,
// rope, RMS epsilon
const std::array<ModelShape, 5>& Shapes() {
  static const std::array<ModelShape, 5> shapes = {{
      // Every row divides by 256, so that each mix has the types it has in a real model of 7B.
      {"tiny", "qwen2", 4, 256, 768, 4, 1, 64, 1024, 2048, true, 1e6, 1e-6},
      {"qwen2.5-0.5b", "qwen2", 24, 896, 4864, 14, 2, 64, 151936, 32768, true, 1e6, 1e-6},
      {"qwen2.5-1.5b", "qwen2", 28, 1536, 8960, 12, 2, 128, 151936, 32768, true, 1e6, 1e-6},
      {"qwen2.5-3b", "qwen2", 36, 2048, 11008, 16, 2, 128, 151936, 32768, true, 1e6, 1e-6},
      {"qwen2.5-7b", "qwen2", 28, 3584, 18944, 28, 4, 128, 152064, 32768, false, 1e6, 1e-6},
  }};
  return shapes;
}

// Looks up `ARCHITECTURE.KEY` in a model.
class ShapeReader {
 public:
  ShapeReader(const ModelFile& model, std::string architecture)
      : model_(model), architecture_(std::move(architecture)) {}

  // A whole number that must be there. Per-layer arrays (models whose layers differ) are not a number.
  absl::StatusOr<std::uint32_t> Required(std::string_view name) const {
    const std::string key = Key(name);
    if (model_.Find(key) == nullptr) return absl::InvalidArgumentError(fmt::format("key '{}' is missing", key));
    return Checked(key);
  }
  absl::StatusOr<std::uint32_t> Optional(std::string_view name, std::uint32_t otherwise) const {
    const std::string key = Key(name);
    return model_.Find(key) == nullptr ? absl::StatusOr<std::uint32_t>(otherwise) : Checked(key);
  }
  double Number(std::string_view name, double otherwise) const { return model_.Number(Key(name)).value_or(otherwise); }

 private:
  std::string Key(std::string_view name) const { return fmt::format("{}.{}", architecture_, name); }

  absl::StatusOr<std::uint32_t> Checked(const std::string& key) const {
    const auto value = model_.Unsigned(key);
    if (!value || *value == 0 || *value > std::numeric_limits<std::int32_t>::max()) {
      return absl::InvalidArgumentError(fmt::format("key {} is of type {} and holds no number between 1 and 2^31 - 1",
                                                    base::Quoted(key), NameOf(model_.Find(key)->type)));
    }
    return static_cast<std::uint32_t>(*value);
  }

  const ModelFile& model_;
  std::string architecture_;
};

}  // namespace

absl::StatusOr<ModelShape> ShapeOf(const ModelFile& model) {
  ModelShape shape;
  const auto architecture = model.Text("general.architecture");
  if (!architecture) return absl::InvalidArgumentError("key 'general.architecture' is missing or no text");
  shape.architecture = *architecture;
  shape.name = model.Text("general.name").value_or("");
  const ShapeReader reader(model, shape.architecture);
  BALLAST_ASSIGN_OR_RETURN(shape.layer_count, reader.Required("block_count"));
  BALLAST_ASSIGN_OR_RETURN(shape.embedding_length, reader.Required("embedding_length"));
  BALLAST_ASSIGN_OR_RETURN(shape.feed_forward_length, reader.Required("feed_forward_length"));
  BALLAST_ASSIGN_OR_RETURN(shape.head_count, reader.Required("attention.head_count"));
  BALLAST_ASSIGN_OR_RETURN(shape.kv_head_count, reader.Optional("attention.head_count_kv", shape.head_count));
  BALLAST_ASSIGN_OR_RETURN(shape.context_length, reader.Required("context_length"));
  BALLAST_ASSIGN_OR_RETURN(const std::uint32_t key_length, reader.Optional("attention.key_length", 0));
  if (key_length == 0 && shape.embedding_length % shape.head_count != 0) {
    return absl::InvalidArgumentError(
        fmt::format("{} heads do not divide an embedding of {}", shape.head_count, shape.embedding_length));
  }
  shape.head_dimension = key_length != 0 ? key_length : shape.embedding_length / shape.head_count;
  shape.rope_frequency_base = reader.Number("rope.freq_base", 10000);
  shape.rms_epsilon = reader.Number("attention.layer_norm_rms_epsilon", 0);
  shape.tied_output = model.FindTensor("output.weight") == nullptr;
  // The embedding has a row for each token; files without it (a set's keys alone) still have the list of tokens.
  const Tensor* const embedding = model.FindTensor("token_embd.weight");
  const ValueExtent* const tokens = model.Extent("tokenizer.ggml.tokens");
  const std::uint64_t vocabulary = embedding != nullptr ? embedding->dimensions[1]
                                   : tokens != nullptr  ? tokens->count
                                                        : 0;
  if (vocabulary > std::numeric_limits<std::int32_t>::max()) {
    return absl::InvalidArgumentError(fmt::format("a vocabulary of {} is not possible", vocabulary));
  }
  shape.vocabulary_size = static_cast<std::uint32_t>(vocabulary);
  return shape;
}

std::uint64_t ParameterCount(const ModelFile& model) {
  std::uint64_t count = 0;
  for (const Tensor& tensor : model.tensors) count += tensor.element_count();
  return count;
}

std::span<const ModelShape> KnownShapes() {
  return Shapes();
}

absl::StatusOr<ModelShape> FindShape(std::string_view name) {
  std::vector<std::string> names;
  for (const ModelShape& shape : Shapes()) {
    if (absl::EqualsIgnoreCase(shape.name, std::string(name))) return shape;
    names.push_back(shape.name);
  }
  return absl::NotFoundError(
      fmt::format("there is no shape {}; there are {}", base::Quoted(name), fmt::join(names, ", ")));
}

}  // namespace ballast::gguf

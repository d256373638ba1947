// The shape of a language model: how many layers of which sizes. From it follow its tensors and its KV cache.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "common/gguf/model_file.h"

namespace ballast::gguf {

// Value type. Numbers as in the GGUF keys `ARCHITECTURE.…` they are named after.
struct ModelShape {
  std::string name;          // of a known shape ("qwen2.5-7b"), or the file's `general.name`
  std::string architecture;  // "qwen2"
  std::uint32_t layer_count = 0;
  std::uint32_t embedding_length = 0;
  std::uint32_t feed_forward_length = 0;
  std::uint32_t head_count = 0;
  std::uint32_t kv_head_count = 0;
  std::uint32_t head_dimension = 0;  // of a key and of a value
  std::uint32_t vocabulary_size = 0;
  std::uint32_t context_length = 0;  // tokens it was trained for
  bool tied_output = false;          // no output.weight: the embedding serves as the output
  double rope_frequency_base = 0;
  double rms_epsilon = 0;

  // Elements of a key or a value of all heads of one layer.
  [[nodiscard]] std::uint64_t kv_length() const { return std::uint64_t{kv_head_count} * head_dimension; }
};

// The shape of a model that was read. INVALID_ARGUMENT names the key that is missing or of another kind, or numbers
// that cannot be (no layers, heads that do not divide the embedding). Shapes of other kinds of models (an encoder, a
// projector) have none of these keys.
[[nodiscard]] absl::StatusOr<ModelShape> ShapeOf(const ModelFile& model);

// Parameters: elements of all tensors.
[[nodiscard]] std::uint64_t ParameterCount(const ModelFile& model);

// The shapes that synthetic models can have, smallest first: `tiny`, which is no real model and loads in
// milliseconds, and the published Qwen2.5 models. All are of the architecture qwen2.
[[nodiscard]] std::span<const ModelShape> KnownShapes();

// By name, case ignored. NOT_FOUND lists the names there are.
[[nodiscard]] absl::StatusOr<ModelShape> FindShape(std::string_view name);

}  // namespace ballast::gguf

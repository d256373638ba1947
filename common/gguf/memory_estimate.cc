#include "common/gguf/memory_estimate.h"

#include <algorithm>
#include <cstdint>

namespace ballast::gguf {
namespace {

constexpr std::uint64_t kMiB = 1U << 20U;
constexpr std::uint64_t kLlamaProcessBytes = 4 * kMiB;
constexpr std::uint64_t kLlamaBytesPerToken = 260;
constexpr std::uint64_t kDefaultContext = 512;
constexpr std::uint64_t kPromptTokens = 64;
constexpr std::uint64_t kFloatBytes = 4;
constexpr std::uint64_t kHalfBytes = 2;

}  // namespace

v1::MemoryEstimate EstimateMemory(const v1::ModelDescription& model, const v1::ModelLoad& load,
                                  std::uint64_t runner_bytes) {
  v1::MemoryEstimate estimate;
  const bool mapped = load.loader() != v1::ModelLoad::READ && load.loader() != v1::ModelLoad::DIRECT;
  if (load.runtime() == v1::ModelLoad::LLAMA_CPP) {
    const std::uint64_t context = load.context_tokens() == 0 ? kDefaultContext : load.context_tokens();
    const std::uint64_t repacked = load.no_repack() ? 0 : model.repackable_bytes();
    // llama.cpp maps the header, too.
    estimate.set_weight_file_bytes(mapped ? model.file_bytes() : 0);
    estimate.set_weight_anon_bytes(mapped ? repacked : model.weight_bytes());
    estimate.set_kv_cache_bytes(2 * std::uint64_t{model.layer_count()} * model.kv_head_count() * model.head_length() *
                                context * kHalfBytes);
    const std::uint64_t vectors =
        4 * std::uint64_t{model.embedding_length()} + 3 * std::uint64_t{model.feed_forward_length()};
    estimate.set_compute_bytes((model.vocabulary_size() + std::min(context, kPromptTokens) * vectors) * kFloatBytes);
    estimate.set_overhead_bytes(runner_bytes + kLlamaProcessBytes + model.vocabulary_size() * kLlamaBytesPerToken);
  } else {
    estimate.set_weight_file_bytes(mapped ? model.weight_bytes() : 0);
    estimate.set_weight_anon_bytes(mapped ? 0 : model.weight_bytes());
    estimate.set_overhead_bytes(runner_bytes);
  }
  const std::uint64_t anonymous =
      estimate.weight_anon_bytes() + estimate.kv_cache_bytes() + estimate.compute_bytes() + estimate.overhead_bytes();
  estimate.set_required_bytes(anonymous + (load.lock() ? estimate.weight_file_bytes() : 0));
  estimate.set_resident_bytes(anonymous + estimate.weight_file_bytes());
  return estimate;
}

}  // namespace ballast::gguf

#include "common/gguf/quant_mix.h"

#include <algorithm>
#include <array>
#include <string>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "absl/strings/match.h"
#include "common/base/text.h"

namespace ballast::gguf {
namespace {

constexpr std::uint64_t kAlignmentBytes = 32;

struct LevelInfo {
  QuantLevel level;
  std::string_view name;
  std::uint32_t file_type;
  TensorType base;  // of every matrix for which the mix has nothing else
};
// By quality, lowest first.
constexpr std::array<LevelInfo, 8> kLevels = {{
    {QuantLevel::kQ2_K, "Q2_K", 10, TensorType::kQ2_K},
    {QuantLevel::kQ3_K_M, "Q3_K_M", 12, TensorType::kQ3_K},
    {QuantLevel::kQ4_0, "Q4_0", 2, TensorType::kQ4_0},
    {QuantLevel::kQ4_K_M, "Q4_K_M", 15, TensorType::kQ4_K},
    {QuantLevel::kQ5_K_M, "Q5_K_M", 17, TensorType::kQ5_K},
    {QuantLevel::kQ6_K, "Q6_K", 18, TensorType::kQ6_K},
    {QuantLevel::kQ8_0, "Q8_0", 7, TensorType::kQ8_0},
    {QuantLevel::kF16, "F16", 1, TensorType::kF16},
}};

const LevelInfo& InfoOf(QuantLevel level) {
  return *std::find_if(kLevels.begin(), kLevels.end(), [level](const LevelInfo& info) { return info.level == level; });
}

// The matrices that mixes tell apart.
enum class Role { kOther, kOutput, kAttentionValue, kAttentionOutput, kFeedForwardDown };

// The layers that get more bits: the first and the last eighth, and of the rest each third.
bool GetsMoreBits(std::uint32_t layer, std::uint32_t layers) {
  return layer < layers / 8 || layer >= 7 * layers / 8 || (layer - layers / 8) % 3 == 2;
}

// For rows that are no whole number of blocks of 256.
TensorType WithSmallBlocks(TensorType type) {
  switch (type) {
    case TensorType::kQ2_K:
    case TensorType::kQ3_K:
      return TensorType::kQ4_0;
    case TensorType::kQ4_K:
      return TensorType::kQ5_0;
    case TensorType::kQ5_K:
      return TensorType::kQ5_1;
    case TensorType::kQ6_K:
      return TensorType::kQ8_0;
    default:
      return type;
  }
}

TensorType TypeInMix(const ModelShape& shape, QuantLevel level, Role role, std::uint32_t layer) {
  using enum TensorType;
  const TensorType base = InfoOf(level).base;
  if (role == Role::kOutput) return level == QuantLevel::kQ8_0 || level == QuantLevel::kF16 ? base : kQ6_K;
  switch (level) {
    case QuantLevel::kQ2_K:
      if (role == Role::kAttentionValue) return shape.head_count / shape.kv_head_count >= 4 ? kQ4_K : kQ3_K;
      if (role == Role::kFeedForwardDown || role == Role::kAttentionOutput) return kQ3_K;
      return base;
    case QuantLevel::kQ3_K_M:
      if (role == Role::kAttentionValue) return layer < 2 ? kQ5_K : kQ4_K;
      if (role == Role::kFeedForwardDown) return layer < shape.layer_count / 16 ? kQ5_K : kQ4_K;
      if (role == Role::kAttentionOutput) return kQ4_K;
      return base;
    case QuantLevel::kQ4_K_M:
    case QuantLevel::kQ5_K_M:
      if ((role == Role::kAttentionValue || role == Role::kFeedForwardDown) && GetsMoreBits(layer, shape.layer_count)) {
        return kQ6_K;
      }
      return base;
    case QuantLevel::kQ4_0:
    case QuantLevel::kQ6_K:
    case QuantLevel::kQ8_0:
    case QuantLevel::kF16:
      return base;
  }
  return base;
}

// Adds tensors one after the other.
class Planner {
 public:
  explicit Planner(ModelPlan* plan) : plan_(plan) {}

  void Matrix(std::string name, std::uint64_t row, std::uint64_t rows, Role role, std::uint32_t layer = 0) {
    TensorType type = TypeInMix(plan_->shape, plan_->level, role, layer);
    if (row % gguf::InfoOf(type).block_elements != 0) type = WithSmallBlocks(type);
    Add({.name = std::move(name), .type = type, .dimension_count = 2, .dimensions = {row, rows, 1, 1}});
  }
  void Vector(std::string name, std::uint64_t length) {
    Add({.name = std::move(name), .type = TensorType::kF32, .dimension_count = 1, .dimensions = {length, 1, 1, 1}});
  }

 private:
  void Add(Tensor tensor) {
    tensor.offset_bytes = next_offset_;
    tensor.size_bytes = *TensorBytes(tensor.type, tensor.element_count());
    next_offset_ += (tensor.size_bytes + kAlignmentBytes - 1) / kAlignmentBytes * kAlignmentBytes;
    plan_->tensor_bytes += tensor.size_bytes;
    plan_->parameter_count += tensor.element_count();
    plan_->tensors.push_back(std::move(tensor));
  }

  ModelPlan* plan_;
  std::uint64_t next_offset_ = 0;
};

}  // namespace

std::span<const QuantLevel> LevelsByQuality() {
  static const auto levels = [] {
    std::array<QuantLevel, kLevels.size()> ordered{};
    std::transform(kLevels.begin(), kLevels.end(), ordered.begin(), [](const LevelInfo& info) { return info.level; });
    return ordered;
  }();
  return levels;
}

std::string_view NameOf(QuantLevel level) {
  return InfoOf(level).name;
}

absl::StatusOr<QuantLevel> FindQuantLevel(std::string_view name) {
  std::vector<std::string_view> names;
  for (const LevelInfo& info : kLevels) {
    if (absl::EqualsIgnoreCase(std::string(info.name), std::string(name))) return info.level;
    names.push_back(info.name);
  }
  return absl::NotFoundError(
      fmt::format("there is no level {}; there are {}", base::Quoted(name), fmt::join(names, ", ")));
}

std::uint32_t FileTypeOf(QuantLevel level) {
  return InfoOf(level).file_type;
}

std::optional<QuantLevel> LevelOf(const ModelFile& model) {
  const auto file_type = model.Unsigned("general.file_type");
  const auto* const found =
      std::find_if(kLevels.begin(), kLevels.end(), [&](const LevelInfo& info) { return file_type == info.file_type; });
  return found == kLevels.end() ? std::nullopt : std::optional<QuantLevel>(found->level);
}

ModelPlan PlanModel(const ModelShape& shape, QuantLevel level) {
  ModelPlan plan{.shape = shape, .level = level, .tensors = {}};
  Planner planner(&plan);
  const std::uint64_t embedding = shape.embedding_length;
  const std::uint64_t attention = std::uint64_t{shape.head_count} * shape.head_dimension;
  planner.Matrix("token_embd.weight", embedding, shape.vocabulary_size,
                 shape.tied_output ? Role::kOutput : Role::kOther);
  for (std::uint32_t layer = 0; layer < shape.layer_count; ++layer) {
    const auto name = [layer](std::string_view part) { return fmt::format("blk.{}.{}", layer, part); };
    planner.Vector(name("attn_norm.weight"), embedding);
    planner.Matrix(name("attn_q.weight"), embedding, attention, Role::kOther, layer);
    planner.Vector(name("attn_q.bias"), attention);
    planner.Matrix(name("attn_k.weight"), embedding, shape.kv_length(), Role::kOther, layer);
    planner.Vector(name("attn_k.bias"), shape.kv_length());
    planner.Matrix(name("attn_v.weight"), embedding, shape.kv_length(), Role::kAttentionValue, layer);
    planner.Vector(name("attn_v.bias"), shape.kv_length());
    planner.Matrix(name("attn_output.weight"), attention, embedding, Role::kAttentionOutput, layer);
    planner.Vector(name("ffn_norm.weight"), embedding);
    planner.Matrix(name("ffn_gate.weight"), embedding, shape.feed_forward_length, Role::kOther, layer);
    planner.Matrix(name("ffn_up.weight"), embedding, shape.feed_forward_length, Role::kOther, layer);
    planner.Matrix(name("ffn_down.weight"), shape.feed_forward_length, embedding, Role::kFeedForwardDown, layer);
  }
  planner.Vector("output_norm.weight", embedding);
  if (!shape.tied_output) planner.Matrix("output.weight", embedding, shape.vocabulary_size, Role::kOutput);
  return plan;
}

}  // namespace ballast::gguf

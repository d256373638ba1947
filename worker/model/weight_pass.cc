#include "worker/model/weight_pass.h"

#include <algorithm>
#include <atomic>
#include <charconv>
#include <limits>
#include <string_view>
#include <system_error>

#include "common/base/status.h"
#include "common/gguf/tensor_type.h"
#include "worker/model/weight_sum.h"

namespace ballast::model {
namespace {

constexpr std::size_t kPieceBytes = 512U << 10U;

}  // namespace

std::uint64_t LayerOrder(const std::string& tensor_name) {
  constexpr std::string_view kLayer = "blk.";
  if (tensor_name.starts_with("output")) return std::numeric_limits<std::uint64_t>::max();
  if (!tensor_name.starts_with(kLayer)) return 0;
  std::uint32_t layer = 0;
  const char* const begin = tensor_name.data() + kLayer.size();
  const char* const end = tensor_name.data() + tensor_name.size();
  if (std::from_chars(begin, end, layer).ec != std::errc()) return 0;
  return std::uint64_t{layer} + 1;
}

WeightPass::WeightPass(const gguf::ModelFile& model, const WeightMemory& memory, base::ThreadTeam* team)
    : memory_(&memory), team_(team) {
  std::vector<const gguf::Tensor*> tensors;
  tensors.reserve(model.tensors.size());
  for (const gguf::Tensor& tensor : model.tensors) tensors.push_back(&tensor);
  std::ranges::stable_sort(tensors, {}, [](const gguf::Tensor* tensor) { return LayerOrder(tensor->name); });
  std::uint64_t factor = 1;
  for (const gguf::Tensor* tensor : tensors) {
    const std::size_t unit = PieceUnitBytes(tensor->type);
    const std::size_t piece_bytes = std::max(kPieceBytes / unit, std::size_t{1}) * unit;
    const std::span<const std::byte> weights = memory.WeightsOf(*tensor);
    for (std::size_t offset = 0; offset < weights.size(); offset += piece_bytes) {
      pieces_.push_back({.weights = weights.subspan(offset, std::min(piece_bytes, weights.size() - offset)),
                         .type = tensor->type,
                         .factor = factor});
    }
    factor += 2;
    weight_bytes_ += weights.size();
    if (!CanDequantise(tensor->type)) {
      const std::string name(gguf::InfoOf(tensor->type).name);
      if (std::ranges::find(undequantised_types_, name) == undequantised_types_.end()) {
        undequantised_types_.push_back(name);
      }
    }
  }
}

absl::StatusOr<std::uint64_t> WeightPass::Run(const std::stop_token& stop) {
  std::atomic<std::size_t> next = 0;
  std::atomic<std::uint64_t> sum = 0;
  std::atomic<bool> broken_off = false;
  team_->Run([&] {
    std::uint64_t own_sum = 0;
    for (std::size_t i = next.fetch_add(1); i < pieces_.size(); i = next.fetch_add(1)) {
      if (stop.stop_requested() || MappedFileGuard::failed()) {
        broken_off.store(true);
        break;
      }
      const Piece& piece = pieces_[i];
      if (first_) memory_->BringIn(piece.weights);
      own_sum += piece.factor * SumWeights(piece.type, piece.weights);
    }
    sum.fetch_add(own_sum);
  });
  first_ = false;
  BALLAST_RETURN_IF_ERROR(memory_->Check());
  if (broken_off.load()) return absl::CancelledError("stopped while the weights were used");
  return sum.load();
}

}  // namespace ballast::model

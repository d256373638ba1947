// Using every weight of a model once, as the forward pass of one token does.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/base/thread_team.h"
#include "common/gguf/model_file.h"
#include "worker/model/weight_memory.h"

namespace ballast::model {

// The place of a tensor in the order of a forward pass: 0 for what comes before the layers (the embedding), N + 1 for
// layer N (`blk.N.…`), the greatest number for the output (`output…`).
[[nodiscard]] std::uint64_t LayerOrder(const std::string& tensor_name);

// Goes over the weights in the order of the layers. All threads work on one stretch of the weights at a time, each on
// pieces that it takes as it comes to them; they do not wait for each other between layers. Every weight counts: of the
// embedding too, of which a token's own pass reads one row where the output has a matrix of its own. The model, the
// memory and the team outlive it. Not thread-safe.
class WeightPass {
 public:
  WeightPass(const gguf::ModelFile& model, const WeightMemory& memory, base::ThreadTeam* team);

  // One pass. Returns the checksum: the sum of SumWeights over the tensors, each times 1, 3, 5, … in the order of the
  // pass; the same for the same file, whatever the threads. CANCELLED on `stop`, within half a MiB a thread; DATA_LOSS
  // as WeightMemory::Check.
  [[nodiscard]] absl::StatusOr<std::uint64_t> Run(const std::stop_token& stop);

  // Bytes of weights that one pass uses.
  [[nodiscard]] std::uint64_t weight_bytes() const { return weight_bytes_; }
  // Names of the types that are not dequantised but summed as they lie.
  [[nodiscard]] const std::vector<std::string>& undequantised_types() const { return undequantised_types_; }

 private:
  struct Piece {
    std::span<const std::byte> weights;
    gguf::TensorType type;
    std::uint64_t factor;  // of its tensor
  };

  const WeightMemory* memory_;
  base::ThreadTeam* team_;
  std::vector<Piece> pieces_;
  bool first_ = true;
  std::uint64_t weight_bytes_ = 0;
  std::vector<std::string> undequantised_types_;
};

}  // namespace ballast::model

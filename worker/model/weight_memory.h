// The weights of a model in memory, brought there in one of several ways.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "ballast/v1/workload.pb.h"
#include "common/base/fd.h"
#include "common/gguf/model_file.h"
#include "worker/model/mapped_file_guard.h"

namespace ballast::model {

// Owns the memory. All parts of a model lie in one stretch of addresses. Not thread-safe, but for reading weights. One
// at a time in a process, where files are mapped.
class WeightMemory {
 public:
  struct Options {
    v1::ModelLoad::Loader loader = v1::ModelLoad::MMAP;
    // Whether the weights stay in memory; what is mapped is then brought in at once.
    bool lock = false;
    // Threads that read.
    unsigned readers = 1;
  };

  // Brings the data sections of all parts in: maps them, or reads them into anonymous memory (huge pages where the
  // system has them). CANCELLED on `stop`, within some MiB. RESOURCE_EXHAUSTED where the kernel refuses memory or the
  // lock; FAILED_PRECONDITION where the file system cannot read past the page cache; DATA_LOSS where a file is shorter
  // than when it was parsed, or cannot be read; codes of base::ErrnoStatus. The process may be OOM-killed in here.
  [[nodiscard]] static absl::StatusOr<std::unique_ptr<WeightMemory>> Load(const gguf::ModelFile& model,
                                                                          const Options& options,
                                                                          const std::stop_token& stop);
  WeightMemory(const WeightMemory&) = delete;
  WeightMemory& operator=(const WeightMemory&) = delete;
  // Gives all of it back.
  ~WeightMemory();

  // A tensor of the model.
  [[nodiscard]] std::span<const std::byte> WeightsOf(const gguf::Tensor& tensor) const;

  // What is mapped and not brought in yet comes in, as far as the kernel can; what cannot is found when it is touched.
  // In one call, because a fault for each 64 KiB takes longer than using the weights. Thread-safe.
  void BringIn(std::span<const std::byte> weights) const;

  // DATA_LOSS where a file that is mapped was cut short or could not be read, so that weights that were used were none.
  // Thread-safe.
  [[nodiscard]] absl::Status Check() const;

 private:
  // One file of the model.
  struct Part {
    const gguf::ModelPart* file = nullptr;
    base::Fd fd;
    std::uint64_t unit_bytes = 0;     // positions and sizes of reads are multiples of it
    std::uint64_t begin_in_file = 0;  // the first byte that is in memory
    std::uint64_t size_bytes = 0;     // to the file's end
    std::byte* begin = nullptr;
  };

  explicit WeightMemory(const gguf::ModelFile& model) : model_(&model) {}

  [[nodiscard]] absl::Status OpenParts(bool direct);
  [[nodiscard]] absl::Status Reserve(std::size_t granule_bytes);
  [[nodiscard]] absl::Status Map(bool populate, bool lock, const std::stop_token& stop);
  [[nodiscard]] absl::Status Populate(const Part& part, const std::stop_token& stop) const;
  [[nodiscard]] absl::Status Read(bool lock, unsigned readers, const std::stop_token& stop);

  const gguf::ModelFile* model_;
  std::vector<Part> parts_;
  std::byte* reservation_ = nullptr;
  std::size_t reserved_bytes_ = 0;
  std::optional<MappedFileGuard> guard_;  // where files are mapped
  bool populated_ = false;
};

}  // namespace ballast::model

// Models with the tensors, types and sizes of real ones and random weights: for what memory and speed depend on, they
// are as good as the real file, and need no download.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <stop_token>
#include <string>

#include "absl/status/statusor.h"
#include "ballast/v1/model.pb.h"
#include "common/gguf/quant_mix.h"

namespace ballast::gguf {

// What a file will hold, worked out without writing. Value type; its header takes a few MiB.
class SyntheticModel {
 public:
  SyntheticModel(const ModelShape& shape, QuantLevel level, std::uint64_t seed);

  [[nodiscard]] const ModelPlan& plan() const { return plan_; }
  [[nodiscard]] std::uint64_t seed() const { return seed_; }
  // Everything before the data section.
  [[nodiscard]] const std::string& header() const { return header_; }
  [[nodiscard]] std::uint64_t file_size_bytes() const { return file_size_bytes_; }

  // The same as a file that was read, for what works on these. The path is empty.
  [[nodiscard]] ModelFile AsFile() const;

 private:
  ModelPlan plan_;
  std::uint64_t seed_;
  std::string header_;
  std::uint64_t file_size_bytes_;
};

// What DescribeModel says of the file of such a model, worked out without making its header, which takes a second where
// many are asked for. No seed changes it.
[[nodiscard]] v1::ModelDescription DescribeSyntheticModel(const ModelShape& shape, QuantLevel level);

struct WriteOptions {
  // Threads that make weights; 0 for as many as there are processors.
  unsigned threads = 0;
  // What is written before a failure or a cancellation stays as FILE.partial, and the next call goes on from there.
  // When the process is killed it stays in any case.
  bool keep_partial = false;
  std::stop_token stop = {};
  // Called on the calling thread after each piece of about 4 MiB.
  std::function<void(std::uint64_t done_bytes, std::uint64_t total_bytes)> progress = {};
};

struct WriteResult {
  // Bytes that were there already: of an earlier call that was ended, or all where the file was complete.
  std::uint64_t resumed_bytes = 0;
  std::uint64_t written_bytes = 0;
};

// Writes the model to `path`: FILE.partial beside it, fsync, rename. The same model gives the same file, whatever the
// number of threads and however often it was interrupted. A complete file of this model is left as it is; a
// FILE.partial of it is checked (its header and the last whole piece) and carried on, one of another model is begun
// anew. ALREADY_EXISTS: another file has that name; RESOURCE_EXHAUSTED: the disk has too little room, found before
// anything is written; UNAVAILABLE: another process is writing it; CANCELLED; otherwise codes as base::ErrnoStatus.
// Thread-safe.
[[nodiscard]] absl::StatusOr<WriteResult> WriteSyntheticModel(const SyntheticModel& model,
                                                              const std::filesystem::path& path,
                                                              const WriteOptions& options);

}  // namespace ballast::gguf

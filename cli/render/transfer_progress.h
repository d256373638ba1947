// How far a long copy has come, on standard error.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "cli/context.h"

namespace ballast::cli {

// Bytes, share and pace. On a terminal one line that is redrawn a few times a second and taken away at the end;
// elsewhere a line every ten seconds, so none for what is quick. Not thread-safe.
class TransferProgress {
 public:
  TransferProgress(Context& context, std::string what, std::uint64_t total_bytes);
  ~TransferProgress();
  TransferProgress(const TransferProgress&) = delete;
  TransferProgress& operator=(const TransferProgress&) = delete;

  void Update(std::uint64_t done_bytes);

 private:
  Context& context_;
  const std::string what_;
  const std::uint64_t total_bytes_;
  std::optional<std::chrono::nanoseconds> begun_;  // at the first update
  std::chrono::nanoseconds next_{0};
  std::uint64_t first_bytes_ = 0;  // what was there then took no time
  bool drawn_ = false;
};

}  // namespace ballast::cli

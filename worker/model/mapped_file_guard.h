// Files that are mapped, and shrink or cannot be read when they are touched.
#pragma once

#include <cstddef>

#include "absl/status/statusor.h"

namespace ballast::model {

// While it lives, a touch of a mapped page that its file cannot give (it was cut short, or the disk fails) is no end of
// the process: the page becomes one of zeros, and failed() says so. Works by handling SIGBUS, on whatever thread it
// comes; a SIGBUS elsewhere ends the process as usual. One at a time in a process.
//
// The page is replaced, instead of jumping out of the handler, because then no thread has to be prepared for the jump
// and nothing is left half done: the reader goes on with zeros, and asks at the next piece.
class MappedFileGuard {
 public:
  // Guards the addresses from `begin` on. FAILED_PRECONDITION where there is a guard already.
  [[nodiscard]] static absl::StatusOr<MappedFileGuard> Install(const std::byte* begin, std::size_t bytes);
  MappedFileGuard(MappedFileGuard&& other) noexcept;
  MappedFileGuard& operator=(MappedFileGuard&&) = delete;
  // The handling of SIGBUS is as it was before.
  ~MappedFileGuard();

  // Whether a page could not be given. Thread-safe.
  [[nodiscard]] static bool failed();

 private:
  MappedFileGuard() = default;

  bool installed_ = false;
};

}  // namespace ballast::model

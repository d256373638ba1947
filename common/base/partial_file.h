// A large file that arrives in pieces, over minutes and interruptions.
#pragma once

#include <cstdint>
#include <filesystem>
#include <stop_token>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/fd.h"
#include "common/base/sha256.h"

namespace ballast::base {

// Bytes that an unprivileged process can still write to the file system of `directory`. Codes as in ErrnoStatus.
[[nodiscard]] absl::StatusOr<std::uint64_t> FreeDiskBytes(const std::filesystem::path& directory);

// RESOURCE_EXHAUSTED, with figures, unless `needed_bytes` fit into the file system of `directory` and leave
// `reserve_bytes` free.
[[nodiscard]] absl::Status CheckDiskSpace(const std::filesystem::path& directory, std::uint64_t needed_bytes,
                                          std::uint64_t reserve_bytes);

struct PartialFileOptions {
  std::filesystem::path path;       // the name it gets in the end
  std::uint64_t size_bytes = 0;     // what is announced
  std::string sha256;               // what is announced, in lower-case hexadecimal digits
  std::uint64_t reserve_bytes = 0;  // stays free on the disk
};

// Until it is complete and its digest is right, the file is called PATH.partial. What is there goes on there: the
// bytes that an earlier one left are read for the digest, and count. It is written behind as it grows and taken out of
// the page cache, so that gigabytes that pass do not push out what others have there. One a path at a time; move-only;
// not thread-safe. Destruction leaves PATH.partial for the next one.
class PartialFile {
 public:
  // Begins, or goes on. Blocks while what is there is read. RESOURCE_EXHAUSTED: what is missing does not fit on the
  // disk; CANCELLED on `stop`; codes of ErrnoStatus.
  [[nodiscard]] static absl::StatusOr<PartialFile> Open(PartialFileOptions options, const std::stop_token& stop);

  // Bytes so far: the next piece begins here.
  [[nodiscard]] std::uint64_t size_bytes() const { return size_bytes_; }
  [[nodiscard]] bool complete() const { return size_bytes_ == options_.size_bytes; }
  // PATH.partial.
  [[nodiscard]] std::filesystem::path partial_path() const;

  // Adds a piece. RESOURCE_EXHAUSTED: the disk is full, or others have used what was to stay free; what is there stays.
  // INVALID_ARGUMENT: more than was announced.
  [[nodiscard]] absl::Status Append(std::string_view piece);

  // Checks what came, and makes it durable. DATA_LOSS: it is not what was announced: Discard it.
  [[nodiscard]] absl::Status Verify();
  // Gives the file its name, durably. After Verify.
  [[nodiscard]] absl::Status Commit();
  // Removes what is there.
  void Discard();

 private:
  PartialFile(PartialFileOptions options, Fd fd) : options_(std::move(options)), fd_(std::move(fd)) {}

  [[nodiscard]] absl::Status WriteBehind();

  PartialFileOptions options_;
  Fd fd_;
  Sha256 digest_;
  std::uint64_t size_bytes_ = 0;
  std::uint64_t durable_bytes_ = 0;  // written behind
};

}  // namespace ballast::base

// Where the bytes of a model file come from: a file, or memory in tests.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>

#include "absl/status/statusor.h"
#include "common/base/fd.h"

namespace ballast::gguf {

// Bytes at positions. Not thread-safe.
class ByteSource {
 public:
  virtual ~ByteSource() = default;
  // How many there were when the source was opened.
  [[nodiscard]] virtual std::uint64_t size_bytes() const = 0;
  // Fills `buffer` from `position` on and returns how much of it: less only where the bytes end.
  [[nodiscard]] virtual absl::StatusOr<std::size_t> ReadAt(std::uint64_t position, std::span<char> buffer) = 0;
};

// A regular file, read with pread: one that shrinks meanwhile gives fewer bytes, and no signal.
class FileByteSource : public ByteSource {
 public:
  // Codes as in base::OpenFile; INVALID_ARGUMENT for what is no regular file (never blocks on a pipe).
  [[nodiscard]] static absl::StatusOr<FileByteSource> Open(const std::filesystem::path& path);

  [[nodiscard]] std::uint64_t size_bytes() const override { return size_bytes_; }
  [[nodiscard]] absl::StatusOr<std::size_t> ReadAt(std::uint64_t position, std::span<char> buffer) override;

 private:
  FileByteSource(base::Fd fd, std::uint64_t size_bytes) : fd_(std::move(fd)), size_bytes_(size_bytes) {}

  base::Fd fd_;
  std::uint64_t size_bytes_;
};

// Memory that outlives the source.
class MemoryByteSource : public ByteSource {
 public:
  explicit MemoryByteSource(std::string_view content) : content_(content) {}

  [[nodiscard]] std::uint64_t size_bytes() const override { return content_.size(); }
  [[nodiscard]] absl::StatusOr<std::size_t> ReadAt(std::uint64_t position, std::span<char> buffer) override;

 private:
  std::string_view content_;
};

}  // namespace ballast::gguf

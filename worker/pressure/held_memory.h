// Memory that is really there.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "ballast/v1/workload.pb.h"
#include "common/os/file_reader.h"
#include "common/os/procfs.h"
#include "worker/pressure/backing_file.h"
#include "worker/pressure/page_filler.h"
#include "worker/pressure/pressure_memory.h"

namespace ballast::pressure {

struct HeldMemoryOptions {
  v1::PageContent content = {};
  v1::MemoryKind kind = v1::ANONYMOUS;
  unsigned fill_threads = 1;
  // Pages are locked as they become resident: never swapped out or dropped.
  bool lock = false;
  // Where the file of FILE_CACHE lies; on a disk.
  std::filesystem::path scratch_dir = {};
  Populate populate = Populate::kBulk;
};

// Memory that is really resident: every page is written, with content that neither compression nor same-page merging
// can shrink below the asked ratio. Each page is unique. Given back on destruction. Not thread-safe.
//
// Pages are of the base size, never transparent huge pages, whatever the device's setting is: so resident bytes follow
// held bytes to the page, the kernel reclaims and swaps the memory in the same pieces as that of ordinary programs, and
// no fill waits for compaction.
class HeldMemory final : public PressureMemory {
 public:
  // RESOURCE_EXHAUSTED where even threads or the block of content (64 KiB) are refused; codes of BackingFile's
  // factories, and those of FileReader::Open where /proc/self/statm cannot be read.
  [[nodiscard]] static absl::StatusOr<std::unique_ptr<HeldMemory>> Create(const HeldMemoryOptions& options);

  HeldMemory(const HeldMemory&) = delete;
  HeldMemory& operator=(const HeldMemory&) = delete;
  ~HeldMemory() override;

  // Checks `stop` every half megabyte. Otherwise as in PressureMemory. RESOURCE_EXHAUSTED also where the disk is full
  // or the lock is refused: the message says which, and what to do. Pages of FILE_CACHE are on the disk when this
  // returns, so that the kernel may drop them. OUT_OF_RANGE where `bytes` is more than an address space.
  [[nodiscard]] absl::Status Grow(std::size_t bytes, std::stop_token stop) override;
  // In steps of some ten MiB, so that whoever watches sees it get on.
  void Shrink(std::size_t bytes, const std::function<void()>& progress) override;
  [[nodiscard]] std::size_t held_bytes() const override { return held_bytes_; }
  // From /proc/self/statm. The kernel counts in batches: up to 64 pages a processor may be missing or too many.
  [[nodiscard]] absl::StatusOr<std::uint64_t> ResidentBytes() override;

  // Of FILE_CACHE, what the kernel has not dropped: resident pages of files of the whole process, less those that it
  // had at the beginning. 0 for other kinds. Tolerance as above.
  [[nodiscard]] absl::StatusOr<std::uint64_t> ResidentFileBytes();

  // Held mappings, in the order in which they were filled: memory grows and shrinks at the end of the last.
  struct Segment {
    std::byte* begin;
    std::size_t bytes;
  };
  [[nodiscard]] const std::vector<Segment>& segments() const { return segments_; }

 private:
  explicit HeldMemory(const HeldMemoryOptions& options) : kind_(options.kind), lock_(options.lock) {}

  absl::StatusOr<std::byte*> Map(std::size_t bytes) const;
  absl::Status FillMapping(std::byte* begin, std::size_t bytes, const std::stop_token& stop, std::size_t* filled);
  void Append(std::byte* begin, std::size_t bytes);
  absl::StatusOr<os::ProcessStatm> ReadStatm();

  const v1::MemoryKind kind_;
  const bool lock_;
  std::unique_ptr<PageFiller> filler_;
  std::optional<BackingFile> file_;  // its end is the end of what is held
  os::FileReader statm_;
  std::uint64_t file_pages_at_begin_ = 0;  // of the program itself
  std::vector<Segment> segments_;
  std::size_t held_bytes_ = 0;
};

}  // namespace ballast::pressure

// Anonymous memory that is really there.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stop_token>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "ballast/v1/workload.pb.h"
#include "common/os/file_reader.h"
#include "worker/pressure/pressure_memory.h"

namespace ballast::pressure {

// Anonymous memory that is really resident: every page is written, with content that neither compression nor same-page
// merging can shrink below the asked ratio. Each page is unique. Unmapped on destruction. Move-only. Not thread-safe.
//
// Pages are of the base size, never transparent huge pages, whatever the device's setting is: so resident bytes follow
// held bytes to the page, the kernel reclaims and swaps the memory in the same pieces as that of ordinary programs, and
// no fill waits for compaction.
class HeldMemory final : public PressureMemory {
 public:
  // How pages become resident before they are written.
  enum class Populate {
    kBulk,   // by MADV_POPULATE_WRITE, half a megabyte a call; by touching on kernels before 5.14, which do not have it
    kTouch,  // by the first write to each
  };

  // RESOURCE_EXHAUSTED where even the block of content (64 KiB) is refused; codes of FileReader::Open where
  // /proc/self/statm cannot be read.
  [[nodiscard]] static absl::StatusOr<HeldMemory> Create(const v1::PageContent& content,
                                                         Populate populate = Populate::kBulk);

  HeldMemory(HeldMemory&& other) noexcept;
  HeldMemory& operator=(HeldMemory&& other) noexcept;
  HeldMemory(const HeldMemory&) = delete;
  HeldMemory& operator=(const HeldMemory&) = delete;
  ~HeldMemory() override;

  // Checks `stop` every half megabyte. Otherwise as in PressureMemory. OUT_OF_RANGE where `bytes` is more than an
  // address space.
  [[nodiscard]] absl::Status Grow(std::size_t bytes, std::stop_token stop) override;
  void Shrink(std::size_t bytes) override;
  [[nodiscard]] std::size_t held_bytes() const override { return held_bytes_; }
  // From /proc/self/statm. The kernel counts in batches: up to 64 pages a processor may be missing or too many.
  [[nodiscard]] absl::StatusOr<std::uint64_t> ResidentBytes() override;

  // Held mappings, oldest first; for looking at what they contain.
  struct Segment {
    std::byte* begin;
    std::size_t bytes;
  };
  [[nodiscard]] const std::vector<Segment>& segments() const { return segments_; }

 private:
  HeldMemory() = default;

  absl::Status Fill(std::byte* begin, std::size_t bytes, const std::stop_token& stop, std::size_t* filled);
  absl::Status MakeResident(std::byte* begin, std::size_t bytes);
  void Append(std::byte* begin, std::size_t bytes);

  Populate populate_ = Populate::kBulk;
  bool stamp_pages_ = true;
  std::vector<std::uint64_t> block_;
  std::uint64_t next_stamp_ = 0;
  os::FileReader statm_;
  // A mapping is given back from its low end: the kernel places new mappings below the last, so memory that grows and
  // shrinks in small pieces stays one mapping.
  std::vector<Segment> segments_;
  std::size_t held_bytes_ = 0;
};

}  // namespace ballast::pressure

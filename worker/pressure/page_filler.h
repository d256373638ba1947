// Makes mapped pages resident and writes their content.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <stop_token>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "ballast/v1/workload.pb.h"
#include "common/base/thread_team.h"

namespace ballast::pressure {

// How pages become resident before they are written.
enum class Populate {
  kBulk,   // by MADV_POPULATE_WRITE, half a megabyte a call; by touching on kernels before 5.14, which do not have it
  kTouch,  // by the first write to each
};

// Fills mappings with content, each page unique, on one or several threads. Two fillers never make the same page. Not
// thread-safe.
class PageFiller {
 public:
  // RESOURCE_EXHAUSTED when a thread is refused.
  [[nodiscard]] static absl::StatusOr<std::unique_ptr<PageFiller>> Create(const v1::PageContent& content,
                                                                          unsigned threads, Populate populate);

  // What is done with a part that has been filled, on the thread that filled it. May be called on several threads at
  // once, for different parts in any order.
  using AfterStride = std::function<void(std::size_t offset, std::size_t bytes)>;

  // Fills `bytes` (whole pages) at `begin`, which is writable, from its beginning on. `*filled` says up to where
  // everything is filled; behind that there may be parts that another thread had begun. Looks at `stop` every half
  // megabyte. CANCELLED on stop, RESOURCE_EXHAUSTED when the kernel refuses.
  [[nodiscard]] absl::Status Fill(std::byte* begin, std::size_t bytes, const std::stop_token& stop,
                                  const AfterStride& after_stride, std::size_t* filled);

 private:
  PageFiller() = default;

  absl::Status FillStride(std::byte* begin, std::size_t bytes, std::uint64_t first_stamp);
  absl::Status MakeResident(std::byte* begin, std::size_t bytes);

  std::atomic<Populate> populate_ = Populate::kBulk;
  bool stamp_pages_ = true;
  std::vector<std::uint64_t> block_;
  std::uint64_t next_stamp_ = 0;
  unsigned threads_ = 1;
  std::unique_ptr<base::ThreadTeam> team_;
};

}  // namespace ballast::pressure

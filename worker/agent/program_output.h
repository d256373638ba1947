// What the program under test writes: the end of it is kept, and none of it ever makes the program wait for long.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "common/base/fd.h"

namespace ballast::agent {

// Most bytes of each stream that are kept.
inline constexpr std::size_t kOutputTailBytes = 64U << 10U;

// The last bytes of a stream, in memory of a fixed size. Not thread-safe.
class TailBuffer {
 public:
  explicit TailBuffer(std::size_t capacity) : bytes_(capacity) {}

  void Append(std::string_view bytes);
  // All bytes that were appended.
  [[nodiscard]] std::uint64_t total() const { return total_; }
  // The last of them, at most `most` bytes, as valid UTF-8: what is none is replaced, and no character is cut in two at
  // the front.
  [[nodiscard]] std::string Text(std::size_t most = kOutputTailBytes) const;

 private:
  std::vector<char> bytes_;
  std::uint64_t total_ = 0;
};

// Reads both streams of one program on a thread of its own, as fast as they come. Owns the thread and the pipes;
// destruction ends it. The public methods are for one thread.
class ProgramOutput {
 public:
  // Codes of ErrnoStatus.
  [[nodiscard]] static absl::StatusOr<std::unique_ptr<ProgramOutput>> Open();
  ~ProgramOutput();
  ProgramOutput(const ProgramOutput&) = delete;
  ProgramOutput& operator=(const ProgramOutput&) = delete;

  // The ends that the program writes to, until CloseWriters().
  [[nodiscard]] int output_fd() const { return streams_[0].writer.get(); }
  [[nodiscard]] int error_fd() const { return streams_[1].writer.get(); }
  // Once the program has its own.
  void CloseWriters();

  // Takes what is in the pipes and ends: whoever still holds the other ends is not waited for. Repeatable.
  void Finish();

  struct Stream {
    std::string tail;
    std::uint64_t bytes = 0;
  };
  [[nodiscard]] Stream Output(std::size_t most_tail_bytes = kOutputTailBytes) const { return Read(0, most_tail_bytes); }
  [[nodiscard]] Stream Error(std::size_t most_tail_bytes = kOutputTailBytes) const { return Read(1, most_tail_bytes); }

 private:
  struct Pipe {
    base::Fd reader;
    base::Fd writer;
    TailBuffer tail{kOutputTailBytes};  // with mutex_
  };

  ProgramOutput() : buffer_(kOutputTailBytes) {}
  void Collect();
  // Takes what is there. False once nothing can come any more.
  bool Drain(Pipe* pipe);
  [[nodiscard]] Stream Read(std::size_t stream, std::size_t most_tail_bytes) const;

  mutable std::mutex mutex_;
  std::array<Pipe, 2> streams_;
  std::vector<char> buffer_;  // the thread's
  base::Fd finish_;
  std::jthread thread_;
};

}  // namespace ballast::agent

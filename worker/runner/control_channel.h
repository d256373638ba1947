// The messages between the agent and its runner, on a stream socket: each is preceded by its size (four bytes,
// little-endian).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "google/protobuf/message_lite.h"

namespace ballast::runner {

// Largest message either end takes. The largest that is sent, a workload with a trace of 20,000 points, has half
// of that.
inline constexpr std::size_t kMaxMessageBytes = 1U << 20U;

// The message with its size before it. OUT_OF_RANGE when it is larger than kMaxMessageBytes.
[[nodiscard]] absl::StatusOr<std::string> EncodeFrame(const google::protobuf::MessageLite& message);

// Takes bytes as they come and gives messages. Holds no more than what was appended. Not thread-safe.
class FrameDecoder {
 public:
  void Append(std::string_view bytes);

  // Parses the next message into `*message`. False where it has not arrived in full. DATA_LOSS when its size is
  // impossible or its bytes are no such message: nothing that follows can be trusted then, and every later call says
  // the same.
  [[nodiscard]] absl::StatusOr<bool> Next(google::protobuf::MessageLite* message);

 private:
  std::string bytes_;
  std::size_t consumed_ = 0;  // bytes at the beginning of `bytes_` that were given out
  absl::Status broken_;
};

// Sends messages on a socket that stays the caller's. Not thread-safe.
class FrameSender {
 public:
  explicit FrameSender(int fd) : fd_(fd) {}

  // Sends a message, and waits while the other end does not read. UNAVAILABLE when the other end is closed; other codes
  // of ErrnoStatus.
  [[nodiscard]] absl::Status Send(const google::protobuf::MessageLite& message);

  // Sends a message if that is possible at once; drops it otherwise, which is no error.
  [[nodiscard]] absl::Status SendOrDrop(const google::protobuf::MessageLite& message);

 private:
  absl::Status Flush(bool wait);

  int fd_;
  std::string unsent_;  // the rest of a message of which a part is on its way
};

// Largest message that SendAtOnce takes.
inline constexpr std::size_t kMaxShortMessageBytes = 124;

// Sends a short message whole or not at all, without waiting and without allocating, so that several threads may use
// the same socket and that it works where no memory is left. OUT_OF_RANGE when it is too large; RESOURCE_EXHAUSTED when
// the other end does not read; UNAVAILABLE when it is closed; other codes of ErrnoStatus.
[[nodiscard]] absl::Status SendAtOnce(int fd, const google::protobuf::MessageLite& message);

// Appends what has arrived on a socket to the decoder, without blocking. OUT_OF_RANGE when the other end is closed and
// everything was read.
[[nodiscard]] absl::Status ReceiveAvailable(int fd, FrameDecoder* decoder);

// Waits until something arrives, then as ReceiveAvailable.
[[nodiscard]] absl::Status ReceiveSome(int fd, FrameDecoder* decoder);

}  // namespace ballast::runner

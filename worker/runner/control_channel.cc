#include "worker/runner/control_channel.h"

#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>

#include <fmt/format.h>

#include "common/base/status.h"

namespace ballast::runner {
namespace {

constexpr std::size_t kSizeBytes = 4;

char SizeByte(std::size_t size, std::size_t index) {
  return static_cast<char>((size >> (8 * index)) & 0xffU);
}

std::uint32_t DecodeSize(std::string_view bytes) {
  std::uint32_t size = 0;
  for (std::size_t i = kSizeBytes; i-- > 0;) size = (size << 8U) | static_cast<unsigned char>(bytes[i]);
  return size;
}

}  // namespace

absl::StatusOr<std::string> EncodeFrame(const google::protobuf::MessageLite& message) {
  const std::size_t size = message.ByteSizeLong();
  if (size > kMaxMessageBytes) {
    return absl::OutOfRangeError(fmt::format(
        "a message of {} bytes is too large for the runner's control channel (at most {})", size, kMaxMessageBytes));
  }
  std::string frame;
  frame.reserve(kSizeBytes + size);
  for (std::size_t i = 0; i < kSizeBytes; ++i) frame.push_back(SizeByte(size, i));
  if (!message.AppendToString(&frame))
    return absl::InternalError("serialise a message for the runner's control channel");
  return frame;
}

void FrameDecoder::Append(std::string_view bytes) {
  // What was given out makes room first, so that the buffer does not grow with the length of the run.
  bytes_.erase(0, consumed_);
  consumed_ = 0;
  bytes_.append(bytes);
}

absl::StatusOr<bool> FrameDecoder::Next(google::protobuf::MessageLite* message) {
  BALLAST_RETURN_IF_ERROR(broken_);
  const std::string_view rest = std::string_view(bytes_).substr(consumed_);
  if (rest.size() < kSizeBytes) return false;
  const std::size_t size = DecodeSize(rest);
  if (size > kMaxMessageBytes) {
    broken_ = absl::DataLossError(fmt::format(
        "the runner's control channel announces a message of {} bytes (at most {})", size, kMaxMessageBytes));
    return broken_;
  }
  if (rest.size() - kSizeBytes < size) return false;
  if (!message->ParseFromArray(rest.data() + kSizeBytes, static_cast<int>(size))) {
    broken_ = absl::DataLossError(
        fmt::format("{} bytes on the runner's control channel are no {}", size, message->GetTypeName()));
    return broken_;
  }
  consumed_ += kSizeBytes + size;
  return true;
}

absl::Status FrameSender::Send(const google::protobuf::MessageLite& message) {
  BALLAST_ASSIGN_OR_RETURN(const std::string frame, EncodeFrame(message));
  unsent_ += frame;
  return Flush(true);
}

absl::Status FrameSender::SendOrDrop(const google::protobuf::MessageLite& message) {
  BALLAST_RETURN_IF_ERROR(Flush(false));
  if (!unsent_.empty()) return absl::OkStatus();
  BALLAST_ASSIGN_OR_RETURN(unsent_, EncodeFrame(message));
  const std::size_t size = unsent_.size();
  BALLAST_RETURN_IF_ERROR(Flush(false));
  // A message that is begun must be ended; one that is not can go.
  if (unsent_.size() == size) unsent_.clear();
  return absl::OkStatus();
}

absl::Status FrameSender::Flush(bool wait) {
  while (!unsent_.empty()) {
    const ssize_t n = ::send(fd_, unsent_.data(), unsent_.size(), MSG_NOSIGNAL | (wait ? 0 : MSG_DONTWAIT));
    if (n >= 0) {
      unsent_.erase(0, static_cast<std::size_t>(n));
    } else if (errno == EPIPE || errno == ECONNRESET) {
      return absl::UnavailableError("the other end of the runner's control channel is closed");
    } else if (!wait && errno == EAGAIN) {
      return absl::OkStatus();
    } else if (errno != EINTR) {
      return base::ErrnoStatus(errno, "send on the runner's control channel");
    }
  }
  return absl::OkStatus();
}

absl::Status SendAtOnce(int fd, const google::protobuf::MessageLite& message) {
  std::array<char, kSizeBytes + kMaxShortMessageBytes> frame;
  const std::size_t size = message.ByteSizeLong();
  if (size > kMaxShortMessageBytes) return absl::OutOfRangeError("the message is too large to be sent at once");
  for (std::size_t i = 0; i < kSizeBytes; ++i) frame[i] = SizeByte(size, i);
  message.SerializeWithCachedSizesToArray(reinterpret_cast<std::uint8_t*>(frame.data() + kSizeBytes));
  while (true) {
    // The kernel takes so little in one piece.
    if (::send(fd, frame.data(), kSizeBytes + size, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0) return absl::OkStatus();
    if (errno == EPIPE || errno == ECONNRESET) {
      return absl::UnavailableError("the other end of the runner's control channel is closed");
    }
    if (errno == EAGAIN) return absl::ResourceExhaustedError("the other end of the control channel does not read");
    if (errno != EINTR) return base::ErrnoStatus(errno, "send on the runner's control channel");
  }
}

absl::Status ReceiveAvailable(int fd, FrameDecoder* decoder) {
  std::array<char, 16384> buffer;
  while (true) {
    const ssize_t n = ::recv(fd, buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (n > 0) {
      decoder->Append(std::string_view(buffer.data(), static_cast<std::size_t>(n)));
    } else if (n == 0 || errno == ECONNRESET) {
      return absl::OutOfRangeError("the other end of the runner's control channel is closed");
    } else if (errno == EAGAIN) {
      return absl::OkStatus();
    } else if (errno != EINTR) {
      return base::ErrnoStatus(errno, "receive on the runner's control channel");
    }
  }
}

absl::Status ReceiveSome(int fd, FrameDecoder* decoder) {
  pollfd entry{.fd = fd, .events = POLLIN, .revents = 0};
  while (::poll(&entry, 1, -1) < 0) {
    if (errno != EINTR) return base::ErrnoStatus(errno, "poll the runner's control channel");
  }
  return ReceiveAvailable(fd, decoder);
}

}  // namespace ballast::runner

#include "worker/agent/spool_reader.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include <fmt/format.h>

#include "absl/status/statusor.h"
#include "common/base/fd.h"
#include "common/base/file.h"
#include "common/base/logging.h"
#include "common/base/status.h"
#include "worker/agent/frame.h"

namespace ballast::agent {
namespace {

constexpr std::size_t kMaxRememberedAttempts = 256;

// The record at a position. NOT_FOUND when its file is gone, DATA_LOSS when it is damaged.
absl::StatusOr<v1::Record> ReadRecord(const Spool::Position& position) {
  BALLAST_ASSIGN_OR_RETURN(const base::Fd fd, base::OpenFile(position.file, O_RDONLY));
  std::string frame(kFrameHeaderBytes + position.length, '\0');
  std::size_t size = 0;
  while (size < frame.size()) {
    const ssize_t n =
        ::pread(fd.get(), frame.data() + size, frame.size() - size, static_cast<off_t>(position.offset + size));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return base::ErrnoStatus(errno, fmt::format("read {}", position.file.string()));
    if (n == 0) break;
    size += static_cast<std::size_t>(n);
  }
  const std::optional<std::string_view> payload = FrameAt(std::string_view(frame).substr(0, size), 0);
  v1::Record record;
  if (!payload || !record.ParseFromArray(payload->data(), static_cast<int>(payload->size()))) {
    return absl::DataLossError(fmt::format("{} is damaged at {}", position.file.string(), position.offset));
  }
  return record;
}

}  // namespace

std::optional<v1::Record> SpoolReader::Next() {
  if (last_read_.size() > kMaxRememberedAttempts) {
    std::erase_if(last_read_, [this](const auto& entry) { return !spool_->Contains(entry.first); });
  }
  while (const std::optional<Spool::Position> position =
             spool_->FindUnacknowledged(last_read_, only_ ? &*only_ : nullptr)) {
    last_read_[position->key] = position->seq;
    absl::StatusOr<v1::Record> record = ReadRecord(*position);
    if (record.ok()) return *std::move(record);
    if (absl::IsNotFound(record.status())) continue;  // acknowledged or set aside just now
    // It would be tried again for ever, and keep its attempt for ever.
    base::Log().error("spool: record {} of {} is lost: {}", position->seq, ToText(position->key),
                  std::string(record.status().message()));
    spool_->Acknowledge(position->key, std::span(&position->seq, 1));
  }
  return std::nullopt;
}

void SpoolReader::Rewind() {
  last_read_.clear();
}

}  // namespace ballast::agent

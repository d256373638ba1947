#include "worker/agent/spool_reader.h"

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include <fmt/format.h>

#include "absl/status/statusor.h"
#include "common/base/logging.h"
#include "common/base/status.h"
#include "worker/agent/frame.h"

namespace ballast::agent {
namespace {

constexpr std::size_t kMaxRememberedAttempts = 256;

// The record at a position. NOT_FOUND when its file is gone, DATA_LOSS when it is damaged.
absl::StatusOr<v1::Record> ReadRecord(SpoolDisk* disk, const Spool::Position& position) {
  BALLAST_ASSIGN_OR_RETURN(const std::string frame,
                           disk->ReadAt(position.file, position.offset, kFrameHeaderBytes + position.length));
  const std::optional<std::string_view> payload = FrameAt(frame, 0);
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
    absl::StatusOr<v1::Record> record = ReadRecord(&spool_->disk(), *position);
    if (record.ok()) return *std::move(record);
    if (absl::IsNotFound(record.status())) {
      // Acknowledged or set aside just now, or its file went although the spool has it: then nobody will ever read it.
      const std::optional<Spool::Position> still =
          spool_->FindUnacknowledged({{position->key, position->seq - 1}}, &position->key);
      if (!still || still->seq != position->seq) continue;
    }
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

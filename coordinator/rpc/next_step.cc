#include "coordinator/rpc/next_step.h"

#include <optional>
#include <utility>

#include "absl/strings/cord.h"
#include "common/base/next_step.h"

namespace ballast::coordinator {
namespace {

constexpr const char* kPayload = "ballast.coordinator.next_step";

std::string_view StepOfDisk(absl::StatusCode code) {
  switch (code) {
    case absl::StatusCode::kPermissionDenied:
      return "let this user write --data-dir and the files in it, or give another --data-dir";
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kResourceExhausted:
      return "free space on the disk of --data-dir, or give a --data-dir on one that has room";
    default:
      return "give a --data-dir on a disk that can be written";
  }
}

}  // namespace

absl::Status WithNextStep(absl::Status status, std::string_view next_step) {
  status.SetPayload(kPayload, absl::Cord(std::string(next_step)));
  return status;
}

std::string NextStepOf(const absl::Status& status) {
  const auto payload = status.GetPayload(kPayload);
  return payload.has_value() ? std::string(*payload) : std::string();
}

absl::Status OfDataDirectory(absl::Status status) {
  const bool not_one = status.code() == absl::StatusCode::kFailedPrecondition;
  const std::string_view step =
      not_one ? "give a --data-dir that is a directory or does not exist yet" : StepOfDisk(status.code());
  return WithNextStep(std::move(status), step);
}

absl::Status OfStore(absl::Status status) {
  std::string_view step = StepOfDisk(status.code());
  if (status.code() == absl::StatusCode::kFailedPrecondition) {
    step = "stop the other coordinator, install the version that made the database, or give another --data-dir";
  } else if (status.code() == absl::StatusCode::kDataLoss) {
    step = "put a copy of the database in its place, or give another --data-dir";
  }
  return WithNextStep(std::move(status), step);
}

std::string NextStepOfMaintenance(const absl::Status& status) {
  if (std::optional<std::string> step = base::NextStepOf(status)) return *std::move(step);
  switch (status.code()) {
    case absl::StatusCode::kNotFound:
      return "give --data-dir the directory of a database, or FILE the name of a copy";
    case absl::StatusCode::kAlreadyExists:
      return "give another name, or --force to replace the file of a backup";
    case absl::StatusCode::kFailedPrecondition:
      return "stop the coordinator that uses it, or give another file or --data-dir";
    case absl::StatusCode::kDataLoss:
      return "take another copy";
    case absl::StatusCode::kCancelled:
      return "the same command again";
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kResourceExhausted:
      return "free space on that disk, or give a file or --data-dir on another";
    default:
      return "let this user read and write those files, or give others";
  }
}

absl::Status OfModels(absl::Status status) {
  std::string_view step = StepOfDisk(status.code());
  if (absl::IsInvalidArgument(status) || absl::IsNotFound(status)) {
    step = "mend the catalogue; configs/models.yaml shows how one looks";
  } else if (absl::IsDataLoss(status)) {
    step = "mend that file, or remove it";
  }
  return WithNextStep(std::move(status), step);
}

absl::Status OfEnvironments(absl::Status status) {
  const bool of_file = absl::IsInvalidArgument(status) || absl::IsNotFound(status);
  const std::string_view step =
      of_file ? "mend the file of profiles; configs/low_mem_env.yaml shows how one looks" : StepOfDisk(status.code());
  return WithNextStep(std::move(status), step);
}

}  // namespace ballast::coordinator

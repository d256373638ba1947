#include "common/base/next_step.h"

#include "absl/strings/cord.h"

namespace ballast::base {
namespace {

constexpr char kNextStepPayload[] = "ballast/next_step";
constexpr char kDetailPayload[] = "ballast/detail";

std::optional<std::string> Payload(const absl::Status& status, const char* name) {
  const auto payload = status.GetPayload(name);
  if (!payload.has_value()) return std::nullopt;
  return std::string(*payload);
}

}  // namespace

absl::Status WithNextStep(absl::Status status, std::string_view next_step) {
  if (!status.ok() && !status.GetPayload(kNextStepPayload).has_value()) {
    status.SetPayload(kNextStepPayload, absl::Cord(std::string(next_step)));
  }
  return status;
}

absl::Status WithDetail(absl::Status status, std::string_view detail) {
  if (!status.ok()) status.SetPayload(kDetailPayload, absl::Cord(std::string(detail)));
  return status;
}

std::optional<std::string> NextStepOf(const absl::Status& status) {
  return Payload(status, kNextStepPayload);
}

std::optional<std::string> DetailOf(const absl::Status& status) {
  return Payload(status, kDetailPayload);
}

}  // namespace ballast::base

#include "worker/agent/run_executor.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "common/base/logging.h"
#include "common/base/status.h"
#include "common/config/job_rules.h"
#include "worker/agent/active_run.h"
#include "worker/agent/boot_id.h"
#include "worker/agent/device_facts.h"
#include "worker/agent/device_policy.h"
#include "worker/agent/load_plan.h"
#include "worker/environment/limited_group.h"

namespace ballast::agent {
namespace {

v1::AssignmentRejected Reject(const v1::Assignment& assignment, v1::OutcomeKind outcome, std::string reason) {
  v1::AssignmentRejected rejected;
  rejected.set_run_id(assignment.run_id());
  rejected.set_attempt(assignment.attempt());
  rejected.set_outcome(outcome);
  rejected.set_reason(std::move(reason));
  return rejected;
}

struct NeededCapability {
  v1::Workload::KindCase kind;
  v1::Capability capability;
  const char* name;
};
constexpr NeededCapability kNeededCapabilities[] = {
    {v1::Workload::kPressure, v1::WORKLOAD_PRESSURE, "pressure"},
    {v1::Workload::kModel, v1::WORKLOAD_MODEL, "model"},
    {v1::Workload::kQuantization, v1::WORKLOAD_QUANTIZATION, "quantization"},
    {v1::Workload::kStability, v1::WORKLOAD_STABILITY, "stability"},
    {v1::Workload::kCapacity, v1::WORKLOAD_CAPACITY, "capacity"},
    {v1::Workload::kCommand, v1::WORKLOAD_COMMAND, "command"},
};

// As the device's own limitations have it.
std::string WhyNoEnvironments(const v1::DeviceFacts& device) {
  for (const std::string& limitation : device.limitations()) {
    if (limitation.starts_with(kNoEnvironments)) return limitation;
  }
  return "this worker does not apply environment profiles; update it, or choose another device";
}

bool Has(const v1::DeviceFacts& device, v1::Capability capability) {
  return std::ranges::find(device.capabilities(), capability) != device.capabilities().end();
}

// Names of models become names of files, and stand in messages.
absl::Status CheckModels(const v1::Assignment& assignment) {
  for (const v1::ResolvedModel& model : assignment.models()) {
    v1::ModelLoad named;  // by the rules of what a job may name
    named.set_model_id(model.model_id());
    named.set_quant(model.quant());
    config::ApplyDefaults(&named);
    BALLAST_RETURN_IF_ERROR(config::Validate(named));
    BALLAST_RETURN_IF_ERROR(config::Validate(model));
  }
  return absl::OkStatus();
}

}  // namespace

std::optional<v1::AssignmentRejected> CheckAssignment(const v1::Assignment& assignment, const v1::DeviceFacts& device,
                                                      const CommandCatalogue* commands,
                                                      const v1::DevicePolicy& policy) {
  if (!IsUsableRunId(assignment.run_id()) || assignment.attempt() == 0) {
    return Reject(assignment, v1::INVALID, "the assignment names no run and attempt");
  }
  v1::Assignment complete = assignment;
  config::ApplyDefaults(complete.mutable_spec());
  const v1::JobSpec& spec = complete.spec();
  for (const absl::Status& status : {config::Validate(spec), CheckModels(complete)}) {
    if (!status.ok()) return Reject(assignment, v1::INVALID, std::string(status.message()));
  }
  if (const absl::Status status = CheckDevicePolicy(policy, complete, device); !status.ok()) {
    return Reject(assignment, v1::INVALID, std::string(status.message()));
  }
  for (const NeededCapability& needed : kNeededCapabilities) {
    if (spec.workload().kind_case() == needed.kind && !Has(device, needed.capability)) {
      return Reject(
          assignment, v1::INVALID,
          fmt::format("this worker does not carry out {} workloads; update it, or choose another device", needed.name));
    }
  }
  if (LoadOf(spec.workload()) != nullptr && assignment.models().empty()) {
    return Reject(assignment, v1::INVALID,
                  "the coordinator did not say where the model's files come from; update the coordinator");
  }
  if (spec.workload().has_command()) {
    const auto task = (commands != nullptr ? *commands : CommandCatalogue()).Resolve(spec.workload().command());
    if (!task.ok()) return Reject(assignment, v1::INVALID, std::string(task.status().message()));
  }
  if (spec.has_environment_profile() && !Has(device, v1::ENVIRONMENT_PROFILES)) {
    return Reject(assignment, v1::ENVIRONMENT_REFUSED,
                  fmt::format("the environment '{}' cannot be set up: {}", spec.environment_profile().name(),
                              WhyNoEnvironments(device)));
  }
  if (!spec.environment().empty() && !spec.has_environment_profile()) {
    return Reject(
        assignment, v1::ENVIRONMENT_REFUSED,
        fmt::format("the job names the environment '{}' without its profile, which the coordinator is to fill "
                    "in; try: update the coordinator, or write the profile into the job (environment_profile)",
                    spec.environment()));
  }
  return std::nullopt;
}

std::optional<v1::AssignmentRejected> RunExecutor::Execute(const v1::Assignment& assignment, RunControl* control,
                                                           RunObserver* observer) {
  if (auto rejected = CheckAssignment(assignment, options_.device, options_.commands, options_.policy)) return rejected;
  v1::Assignment complete = assignment;
  config::ApplyDefaults(complete.mutable_spec());
  ApplyDevicePolicy(options_.policy, complete.mutable_spec());
  const AttemptKey key{assignment.run_id(), assignment.attempt()};

  std::optional<environment::LimitedGroup> limits;
  if (complete.spec().has_environment_profile()) {
    const environment::LimitedGroupOptions group_options = {.root = options_.root,
                                                            .disk_directory = options_.scratch_dir};
    limits.emplace();
    if (const auto refusal = environment::LimitedGroup::Make(
            options_.cgroup_home, complete.spec().environment_profile(), group_options, &*limits)) {
      return Reject(assignment, v1::ENVIRONMENT_REFUSED, refusal->ToText());
    }
  }
  absl::StatusOr<std::unique_ptr<ActiveRun>> run =
      ActiveRun::Prepare(options_, std::move(complete), std::move(limits), spool_);
  if (!run.ok()) return Reject(assignment, v1::OUTCOME_KIND_UNSPECIFIED, std::string(run.status().message()));

  const auto clock_offset = [&] {
    const auto* const peer = options_.peer_clock;
    return peer == nullptr ? std::nullopt : peer->OffsetAt(options_.clock->Now(), options_.clock->Monotonic());
  };
  v1::AttemptStarted started;
  *started.mutable_start_time() = base::ToProto(options_.clock->Now());
  if (const auto offset = clock_offset()) *started.mutable_clock_offset() = *offset;
  started.set_boot_id(ReadBootId(options_.root));
  if (const absl::Status status = spool_->Begin(key, started); !status.ok()) {
    return Reject(assignment, v1::OUTCOME_KIND_UNSPECIFIED,
                  fmt::format("the start could not be written to disk: {}", std::string(status.message())));
  }
  base::Log().info("run {}: started", ToText(key));
  v1::AttemptFinished finished;
  *finished.mutable_result() = (*run)->CarryOut(control, observer);
  run->reset();  // the runner is gone before its end is written
  *finished.mutable_end_time() = base::ToProto(options_.clock->Now());
  if (const auto offset = clock_offset()) *finished.mutable_clock_offset() = *offset;
  v1::Evidence* const evidence = finished.mutable_result()->mutable_outcome()->mutable_evidence();
  evidence->set_start_boot_id(started.boot_id());
  evidence->set_end_boot_id(started.boot_id());
  base::Log().info("run {}: {}: {}", ToText(key), v1::OutcomeKind_Name(finished.result().outcome().kind()),
                   finished.result().outcome().message());
  if (const absl::Status status = spool_->Finish(key, finished); !status.ok()) {
    base::Log().warn("run {}: its end is not recorded: {}", ToText(key), std::string(status.message()));
  }
  return std::nullopt;
}

}  // namespace ballast::agent

#include "coordinator/rpc/scheduling_options.h"

#include <chrono>
#include <string>

#include <fmt/format.h>

#include "common/base/clock.h"
#include "common/base/text.h"
#include "common/config/field_rules.h"

namespace ballast::coordinator {
namespace {

// Some seconds of holding little: what it tests is the way through agent, runner, disk and network.
v1::JobSpec SelfTest() {
  v1::JobSpec spec;
  v1::StaircasePattern* steps = spec.mutable_workload()->mutable_pressure()->mutable_staircase();
  steps->set_step_size_bytes(8U << 20U);
  *steps->mutable_interval() = base::ToProto(std::chrono::milliseconds(500));
  steps->set_steps(4);
  *spec.mutable_policy()->mutable_timeout() = base::ToProto(std::chrono::minutes(5));
  *spec.mutable_policy()->mutable_lost_after() = base::ToProto(std::chrono::minutes(10));
  config::ApplyDefaults(&spec);
  return spec;
}

}  // namespace

core::SchedulingOptions SchedulingOptionsOf(const v1::SchedulingConfig& config) {
  core::SchedulingOptions options;
  options.max_parallel_runs = config.max_parallel_runs();
  options.cool_down = base::FromProto(config.cool_down());
  options.priority_step = base::FromProto(config.priority_step());
  options.share_half_life = base::FromProto(config.share_half_life());
  options.quarantine_after = config.quarantine_after();
  options.health_check_interval = base::FromProto(config.health_check_interval());
  options.health_check = config.has_health_check() ? config.health_check() : SelfTest();
  return options;
}

absl::StatusOr<absl::TimeZone> FindTimeZone(const std::string& name) {
  absl::TimeZone zone;
  // A name of the database, and no file elsewhere.
  if (name.empty() || name.front() == '/' || name.find("..") != std::string::npos || !absl::LoadTimeZone(name, &zone)) {
    return absl::InvalidArgumentError(
        fmt::format("{} is no time zone of this coordinator's database; one is Europe/Berlin", base::Quoted(name)));
  }
  return zone;
}

}  // namespace ballast::coordinator

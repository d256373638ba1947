#include "worker/memory/embedded_agent.h"

#include <algorithm>
#include <system_error>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "common/base/clock.h"
#include "common/base/status.h"
#include "common/config/field_rules.h"
#include "common/config/job_rules.h"
#include "common/metrics/chunk_codec.h"
#include "common/os/cgroup.h"
#include "worker/agent/device_facts.h"
#include "worker/agent/load_plan.h"
#include "worker/agent/sample_history.h"
#include "worker/agent/spool_reader.h"
#include "worker/memory/runner_program.h"
#include "worker/memory/signal_block.h"

namespace ballast::memory {
namespace {

constexpr std::chrono::seconds kFlushTimeout(10);
constexpr std::size_t kMostSamples = 1000;

// Where this process stands among the cgroups: only where looking there moves nothing that the program did not allow.
std::unique_ptr<environment::CgroupHome> PrepareHome(const MemoryPressurerOptions& options) {
  const bool may_move = options.may_move_program || options.environment.has_value();
  const auto location = os::LocateCgroups();
  if (!may_move && location.ok() && location->memory_version == 2) return nullptr;
  return environment::CgroupHome::Prepare();
}

// All rows of the chunks, thinned evenly.
v1::SampleSeries SeriesOf(const std::vector<metrics::DecodedChunk>& chunks) {
  std::size_t count = 0;
  for (const metrics::DecodedChunk& chunk : chunks) count += chunk.rows.size();
  const std::size_t stride = std::max<std::size_t>(1, (count + kMostSamples - 1) / kMostSamples);
  agent::SampleHistory thinned(std::chrono::hours(24 * 365), std::chrono::hours(1));
  std::size_t index = 0;
  for (const metrics::DecodedChunk& chunk : chunks) {
    for (std::size_t i = 0; i < chunk.rows.size(); ++i, ++index) {
      if (index % stride == 0 || index + 1 == count) thinned.Add(chunk.offsets[i], chunk.rows[i]);
    }
  }
  v1::SampleSeries series = thinned.ToSeries();
  series.set_stride(static_cast<std::uint32_t>(stride));
  return series;
}

}  // namespace

absl::StatusOr<std::unique_ptr<EmbeddedAgent>> EmbeddedAgent::Create(MemoryPressurerOptions options) {
  BALLAST_ASSIGN_OR_RETURN(const std::filesystem::path runner, FindRunner(options.runner_program));
  BALLAST_ASSIGN_OR_RETURN(PrivateDirectory directory, PrivateDirectory::Open(options.data_directory));
  std::unique_ptr<EmbeddedAgent> agent(new EmbeddedAgent(std::move(options), std::move(directory)));
  const std::filesystem::path& path = agent->directory_.path();
  // Threads of the library leave signals to the program.
  const SignalBlock block;
  BALLAST_ASSIGN_OR_RETURN(agent->models_, LocalModels::Open(agent->options_.model_catalogue, path / "digests"));
  BALLAST_ASSIGN_OR_RETURN(
      agent->model_cache_,
      agent::ModelCache::Open({.directory = path / "models", .named_directories = {"/"}}, agent->models_.get()));
  // Nobody asks for what a program that has crashed was about.
  std::error_code error;
  std::filesystem::remove_all(path / "spool", error);
  std::vector<agent::CutOffAttempt> cut_off;
  BALLAST_ASSIGN_OR_RETURN(agent->spool_, agent::Spool::Open({.directory = path}, &cut_off));
  BALLAST_ASSIGN_OR_RETURN(const std::filesystem::path scratch, agent->directory_.data_directory().ScratchDirectory());
  agent->cgroup_home_ = PrepareHome(agent->options_);
  v1::DeviceFacts facts = agent::ReadDeviceFacts();
  if (agent->cgroup_home_) agent::AddFactsOf(*agent->cgroup_home_, &facts);
  agent->executor_.emplace(agent::RunExecutorOptions{.runner_program = runner.string(),
                                                     .scratch_dir = scratch.string(),
                                                     .cgroup_home = agent->cgroup_home_.get(),
                                                     .models = agent->model_cache_.get(),
                                                     .device = std::move(facts)},
                           agent->spool_.get());
  agent->thread_ = std::thread([self = agent.get()] { self->Loop(); });
  return agent;
}

EmbeddedAgent::~EmbeddedAgent() {
  Stop();
  {
    const std::scoped_lock lock(mutex_);
    ending_ = true;
    changed_.notify_all();
  }
  if (thread_.joinable()) thread_.join();
}

absl::StatusOr<v1::JobSpec> EmbeddedAgent::Complete(const v1::JobSpec& job) const {
  v1::JobSpec spec = job;
  if (!spec.has_guard()) *spec.mutable_guard() = options_.guard;
  if (options_.environment && spec.environment().empty() && !spec.has_environment_profile()) {
    *spec.mutable_environment_profile() = *options_.environment;
  }
  if (spec.has_environment_profile()) spec.set_environment(spec.environment_profile().name());
  config::ApplyDefaults(&spec);
  BALLAST_RETURN_IF_ERROR(config::Validate(spec));
  return spec;
}

absl::Status EmbeddedAgent::Start(const v1::JobSpec& job, MemoryPressurer::ProgressCallback on_progress) {
  const auto test = std::make_shared<Test>();
  test->on_progress = std::move(on_progress);
  BALLAST_ASSIGN_OR_RETURN(test->control, agent::RunControl::Create());
  BALLAST_ASSIGN_OR_RETURN(v1::JobSpec spec, Complete(job));
  if (const v1::ModelLoad* const load = agent::LoadOf(spec.workload())) {
    std::vector<std::string> levels = {load->quant()};
    if (spec.workload().has_quantization()) {
      const auto& named = spec.workload().quantization().quant_levels();
      levels.assign(named.begin(), named.end());
      if (levels.empty()) {
        BALLAST_ASSIGN_OR_RETURN(const auto described, models_->DescribeLevels(load->model_id()));
        for (const LocalModels::DescribedLevel& level : described) levels.push_back(level.quant);
      }
    }
    for (const std::string& level : levels) {
      BALLAST_ASSIGN_OR_RETURN(*test->assignment.add_models(), models_->Resolve(load->model_id(), level));
    }
  }
  *test->assignment.mutable_spec() = std::move(spec);
  test->assignment.set_attempt(1);

  const std::scoped_lock lock(mutex_);
  if (test_) return absl::FailedPreconditionError("a test goes on already; stop it, or wait for its end");
  test->assignment.set_run_id(fmt::format("test-{}", ++started_));
  test_ = test;
  last_.reset();
  changed_.notify_all();
  return absl::OkStatus();
}

absl::Status EmbeddedAgent::AdjustTarget(double target_percent) {
  if (!(target_percent > 0 && target_percent <= 100)) {
    return absl::InvalidArgumentError(
        fmt::format("a target is a percentage above 0 and at most 100, not {}", target_percent));
  }
  const std::scoped_lock lock(mutex_);
  const bool burst = test_ && test_->assignment.spec().workload().pressure().has_burst() &&
                     !test_->assignment.spec().workload().pressure().burst().has_target_psi();
  if (!burst) {
    return absl::FailedPreconditionError(
        "only a burst that goes on, to a share of memory or to bytes, has a target to "
        "adjust");
  }
  test_->control->RequestTarget(target_percent);
  return absl::OkStatus();
}

void EmbeddedAgent::Stop() {
  const std::scoped_lock lock(mutex_);
  if (test_) test_->control->RequestEnd({v1::CANCELLED, "the program stopped the test", v1::AGENT});
}

absl::StatusOr<v1::PressureTest> EmbeddedAgent::Wait() {
  std::unique_lock lock(mutex_);
  if (!test_ && !last_) return absl::FailedPreconditionError("no test was started");
  changed_.wait(lock, [this] { return !test_; });
  // Another thread may have taken it.
  if (!last_) return absl::FailedPreconditionError("the test's result was taken by another call of Wait");
  absl::StatusOr<v1::PressureTest> result = *std::move(last_);
  last_.reset();
  return result;
}

bool EmbeddedAgent::running() const {
  const std::scoped_lock lock(mutex_);
  return test_ != nullptr;
}

void EmbeddedAgent::OnProgress(const v1::RunProgress& progress) {
  std::shared_ptr<Test> test;
  {
    const std::scoped_lock lock(mutex_);
    test = test_;
  }
  if (test && test->on_progress) test->on_progress(progress);
}

void EmbeddedAgent::Loop() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return ending_ || test_; });
    if (!test_) return;
    const std::shared_ptr<Test> test = test_;
    lock.unlock();
    absl::StatusOr<v1::PressureTest> result = CarryOut(*test);
    lock.lock();
    last_ = std::move(result);
    test_.reset();
    changed_.notify_all();
  }
}

absl::StatusOr<v1::PressureTest> EmbeddedAgent::CarryOut(const Test& test) {
  const base::SystemTime start = base::RealClock().Now();
  const std::optional<v1::AssignmentRejected> rejected = executor_->Execute(test.assignment, test.control.get(), this);
  if (!rejected) return Collect(test.assignment);
  if (rejected->outcome() == v1::OUTCOME_KIND_UNSPECIFIED) return absl::UnavailableError(rejected->reason());
  v1::PressureTest refused;
  *refused.mutable_spec() = test.assignment.spec();
  refused.mutable_attempt()->set_attempt(1);
  *refused.mutable_attempt()->mutable_start_time() = base::ToProto(start);
  *refused.mutable_attempt()->mutable_end_time() = base::ToProto(base::RealClock().Now());
  v1::Outcome* const outcome = refused.mutable_attempt()->mutable_result()->mutable_outcome();
  outcome->set_kind(rejected->outcome());
  outcome->set_message(rejected->reason());
  return refused;
}

absl::StatusOr<v1::PressureTest> EmbeddedAgent::Collect(const v1::Assignment& assignment) {
  const agent::AttemptKey key{assignment.run_id(), assignment.attempt()};
  BALLAST_RETURN_IF_ERROR(base::WithContext(spool_->Flush(kFlushTimeout),
                                            fmt::format("record the test in {}", directory_.path().string())));
  v1::PressureTest test;
  *test.mutable_spec() = assignment.spec();
  v1::Attempt* const attempt = test.mutable_attempt();
  attempt->set_attempt(key.attempt);
  std::vector<metrics::DecodedChunk> chunks;
  agent::SpoolReader reader(spool_.get(), key);
  while (std::optional<v1::Record> record = reader.Next()) {
    const std::uint64_t seq = record->seq();
    if (record->has_started()) {
      *attempt->mutable_start_time() = record->started().start_time();
      attempt->set_boot_id(record->started().boot_id());
    } else if (record->has_chunk()) {
      if (auto decoded = metrics::DecodeChunk(record->chunk()); decoded.ok()) chunks.push_back(*std::move(decoded));
    } else if (record->has_finished()) {
      *attempt->mutable_end_time() = record->finished().end_time();
      attempt->mutable_result()->Swap(record->mutable_finished()->mutable_result());
    }
    spool_->Acknowledge(key, {&seq, 1});
  }
  if (!attempt->has_result()) {
    return absl::DataLossError(
        fmt::format("the end of the test cannot be read back from {}", directory_.path().string()));
  }
  *test.mutable_samples() = SeriesOf(chunks);
  return test;
}

}  // namespace ballast::memory

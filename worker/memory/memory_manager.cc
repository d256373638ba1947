#include "ballast/memory_manager.h"

#include <algorithm>
#include <cstdlib>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "common/base/status.h"
#include "common/base/text.h"
#include "common/environment/catalogue.h"
#include "common/render/json.h"
#include "worker/memory/controlled_test.h"

namespace ballast {
namespace {

struct ProcessInstance {
  std::mutex mutex;
  std::string environment_profile;
  std::unique_ptr<MemoryManager> manager;
};

ProcessInstance& TheInstance() {
  static ProcessInstance& instance = *new ProcessInstance();
  return instance;
}

}  // namespace

absl::StatusOr<std::unique_ptr<MemoryManager>> MemoryManager::Create(MemoryManagerOptions options) {
  std::optional<v1::EnvironmentProfile> profile;
  if (!options.environment_profile.empty()) {
    std::vector<std::filesystem::path> files;
    if (!options.environment_file.empty()) files.push_back(options.environment_file);
    BALLAST_ASSIGN_OR_RETURN(const v1::EnvironmentCatalogue catalogue, profiles::LoadEnvironments(files));
    BALLAST_ASSIGN_OR_RETURN(const v1::EnvironmentProfile* const found,
                             profiles::GetProfile(catalogue, options.environment_profile));
    profile = *found;
  }
  if (options.guard.model_catalogue.empty()) options.guard.model_catalogue = options.pressure.model_catalogue;
  BALLAST_ASSIGN_OR_RETURN(std::unique_ptr<MemoryGuard> guard, MemoryGuard::Create(options.guard));
  return std::unique_ptr<MemoryManager>(new MemoryManager(std::move(options), std::move(profile), std::move(guard)));
}

absl::StatusOr<MemoryManager*> MemoryManager::Instance(MemoryManagerOptions options) {
  ProcessInstance& instance = TheInstance();
  const std::scoped_lock lock(instance.mutex);
  if (!instance.manager) {
    instance.environment_profile = options.environment_profile;
    BALLAST_ASSIGN_OR_RETURN(instance.manager, Create(std::move(options)));
    // With the process, and before the static objects that the manager was made with.
    (void)std::atexit([] { TheInstance().manager.reset(); });
  } else if (!options.environment_profile.empty() && options.environment_profile != instance.environment_profile) {
    return absl::FailedPreconditionError(
        fmt::format("this process has a memory manager with the environment profile {} already; {} needs one of its "
                    "own (MemoryManager::Create)",
                    base::Quoted(instance.environment_profile), base::Quoted(options.environment_profile)));
  }
  return instance.manager.get();
}

MemoryManager::MemoryManager(MemoryManagerOptions options, std::optional<v1::EnvironmentProfile> profile,
                             std::unique_ptr<MemoryGuard> guard)
    : options_(std::move(options)), profile_(std::move(profile)), guard_(std::move(guard)) {}

MemoryManager::~MemoryManager() = default;

absl::Status MemoryManager::StartMonitoring() {
  return guard_->Start();
}

void MemoryManager::StopMonitoring() {
  guard_->Stop();
}

absl::StatusOr<MemoryPressurer*> MemoryManager::pressurer() {
  const std::scoped_lock lock(mutex_);
  if (!pressurer_) {
    MemoryPressurerOptions options = options_.pressure;
    if (profile_) options.environment = profile_;
    BALLAST_ASSIGN_OR_RETURN(pressurer_, MemoryPressurer::Create(std::move(options)));
  }
  return pressurer_.get();
}

absl::StatusOr<v1::PressureTest> MemoryManager::RunControlledPressureTest(
    const ControlledTest& test, MemoryPressurer::ProgressCallback on_progress) {
  BALLAST_ASSIGN_OR_RETURN(const v1::MemoryReading now, guard_->Read());
  memory::TestGround ground{now.limit_bytes(), now.used_bytes()};
  // A smaller machine is empty when the test begins.
  if (profile_) ground = {std::min(now.limit_bytes(), profile_->memory_bytes()), 0};
  BALLAST_ASSIGN_OR_RETURN(const v1::JobSpec job, memory::JobOf(test, ground));
  BALLAST_ASSIGN_OR_RETURN(MemoryPressurer* const pressure, pressurer());
  BALLAST_ASSIGN_OR_RETURN(v1::PressureTest result, pressure->Run(job, std::move(on_progress)));
  const std::scoped_lock lock(mutex_);
  last_test_ = result;
  return result;
}

absl::StatusOr<v1::MemoryReport> MemoryManager::GenerateMemoryReport() {
  v1::MemoryReport report;
  BALLAST_RETURN_IF_ERROR(guard_->Fill(&report));
  absl::StatusOr<v1::QuantizationAdvice> advice =
      guard_->AdviseQuantization(options_.model_id, profile_ ? profile_->memory_bytes() : 0);
  if (advice.ok()) {
    *report.mutable_quantization() = *std::move(advice);
  } else {
    // All else is worth knowing all the same.
    report.mutable_quantization()->set_model_id(options_.model_id);
    report.mutable_quantization()->set_message(std::string(advice.status().message()));
  }
  v1::ReportedEnvironment* const environment = report.mutable_environment();
  if (profile_) {
    environment->set_profile_name(profile_->name());
    *environment->mutable_profile() = *profile_;
  }
  const std::scoped_lock lock(mutex_);
  if (last_test_) {
    *report.mutable_last_test() = *last_test_;
    const v1::RunResult& result = last_test_->attempt().result();
    if (result.has_environment()) *environment->mutable_applied() = result.environment();
  }
  return report;
}

std::string ToJson(const google::protobuf::Message& message) {
  return render::ToJson(message);
}

}  // namespace ballast

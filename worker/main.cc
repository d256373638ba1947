// The program `ballast-worker`: wires the agent's parts together, or becomes a runner.
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "common/base/clock.h"
#include "common/base/logging.h"
#include "common/base/next_step.h"
#include "common/base/shutdown_signal.h"
#include "common/base/status.h"
#include "common/render/json.h"
#include "common/rpc/channel.h"
#include "worker/agent/command_catalogue.h"
#include "worker/agent/data_directory.h"
#include "worker/agent/device_facts.h"
#include "worker/agent/device_policy.h"
#include "worker/agent/model_cache.h"
#include "worker/agent/peer_clock.h"
#include "worker/agent/recovery.h"
#include "worker/agent/run_supervisor.h"
#include "worker/agent/self_protection.h"
#include "worker/agent/session/joining.h"
#include "worker/agent/session/membership.h"
#include "worker/agent/session/model_client.h"
#include "worker/agent/session/session.h"
#include "worker/agent/spool.h"
#include "worker/agent/worker_flags.h"
#include "worker/environment/cgroup_home.h"
#include "worker/environment/environment_command.h"
#include "worker/runner/runner_process.h"

namespace {

namespace agent = ballast::agent;
namespace base = ballast::base;
namespace environment = ballast::environment;
namespace v1 = ballast::v1;

constexpr int kFailed = 1;
constexpr int kUsage = 2;
// On SIGTERM: for the runner to go, for its end to reach the disk, and for that to reach the coordinator.
constexpr std::chrono::seconds kStopTimeout(2);
constexpr std::string_view kMendIdentity =
    "do what the message says, and let this user read identity.pem in the data directory";
// After this time everything that only a start needs has happened.
constexpr std::chrono::seconds kStartTime(3);

int Fail(int exit_code, const absl::Status& status, std::string_view next_step) {
  std::cerr << fmt::format("error: {}\n  try: {}\n", std::string(status.message()), next_step);
  return exit_code;
}

int Serve(const v1::WorkerConfig& config) {
  if (const absl::Status status = base::InitLogging("ballast-worker", config.log_level()); !status.ok()) {
    return Fail(kUsage, status, "ballast-worker --help");
  }
  // Early: memory stays charged to the cgroup in which it was first touched.
  const agent::SelfProtection protection = agent::ProtectSelf();
  const std::unique_ptr<environment::CgroupHome> cgroup_home = environment::CgroupHome::Prepare();
  // Before any thread, so that every one has the signals blocked.
  const absl::StatusOr<base::ShutdownSignal> shutdown = base::ShutdownSignal::Create();
  if (!shutdown.ok()) return Fail(kFailed, shutdown.status(), "raise the limit of open files (ulimit -n)");
  const auto directory = agent::DataDirectory::Open(config.data_dir());
  if (!directory.ok()) return Fail(kFailed, directory.status(), agent::NextStepOfDataDirectory(directory.status()));
  absl::StatusOr<std::string> device_id =
      config.device_id().empty() ? directory->DeviceId() : absl::StatusOr<std::string>(config.device_id());
  if (!device_id.ok()) return Fail(kFailed, device_id.status(), agent::NextStepOfDataDirectory(device_id.status()));
  const auto membership = agent::Membership::Open(directory->path() / "identity.pem");
  if (!membership.ok()) return Fail(kFailed, membership.status(), kMendIdentity);
  if (config.has_join() && (*membership)->NeedsToJoin(config.join())) {
    // Whoever was somebody stays that, whatever the file device_id says.
    const std::shared_ptr<const ballast::tls::Identity> before = (*membership)->identity();
    if (before != nullptr && config.device_id().empty()) device_id = before->facts.name;
    const absl::Status joined =
        agent::KeepJoining([&] { return (*membership)->Join(config.join(), *device_id); },
                           [&](std::chrono::milliseconds pause) { return shutdown->Wait(pause).has_value(); });
    if (absl::IsCancelled(joined)) return 0;
    if (!joined.ok()) return Fail(kFailed, joined, agent::NextStepOfJoining(joined, *device_id));
  }
  const std::shared_ptr<const ballast::tls::Identity> identity = (*membership)->identity();
  if (identity != nullptr) {
    // A token may name another; then that stands.
    if (!config.device_id().empty() && config.device_id() != identity->facts.name) {
      return Fail(
          kFailed,
          absl::FailedPreconditionError(fmt::format("the certificate is that of device {}, and --device-id says {}",
                                                    identity->facts.name, config.device_id())),
          "leave --device-id out, or remove identity.pem from the data directory and join with a token for that name");
    }
    device_id = identity->facts.name;
  }
  const std::string coordinator = agent::CoordinatorAddress(config);
  if (const auto channel = ballast::rpc::CreateChannel(coordinator, config.insecure(), identity.get()); !channel.ok()) {
    return Fail(kFailed, channel.status(),
                "join with --join TOKEN@HOST:PORT, give another --coordinator, or accept plain text with --insecure");
  }

  const auto commands =
      agent::CommandCatalogue::Create(config.commands(), std::filesystem::absolute(directory->path()).string());
  if (!commands.ok()) {
    return Fail(kUsage, commands.status(), "mend the commands in the configuration; docs/commands.md describes them");
  }

  std::vector<agent::CutOffAttempt> cut_off;
  auto spool =
      agent::Spool::Open({.directory = directory->path(), .quota_bytes = config.spool_quota_bytes()}, &cut_off);
  if (!spool.ok()) return Fail(kFailed, spool.status(), agent::NextStepOfDataDirectory(spool.status()));
  agent::EndCutOffAttempts(cut_off, agent::ReadBootFacts(), spool->get());

  const auto facts = [&config, &protection, &cgroup_home, &commands] {
    v1::DeviceFacts collected = agent::ReadDeviceFacts();
    agent::AddFactsOf(*cgroup_home, &collected);
    agent::AddRuntimeFacts(config.llama_server(), &collected);
    commands->AddFacts(&collected);
    agent::AddPolicyFacts(config.policy(), &collected);
    for (const std::string& limitation : protection.limitations) collected.add_limitations(limitation);
    return collected;
  };
  const v1::DeviceFacts first_facts = facts();
  for (const std::string& limitation : first_facts.limitations()) base::Log().info("{}", limitation);
  if (config.insecure() && identity != nullptr) {
    base::Log().warn("--insecure has no effect: this worker has a certificate");
  } else if (config.insecure()) {
    base::Log().warn("--insecure: what is sent to {} can be read and changed on its way", coordinator);
  }

  const auto scratch = directory->ScratchDirectory();
  if (!scratch.ok()) return Fail(kFailed, scratch.status(), agent::NextStepOfDataDirectory(scratch.status()));
  const auto tls_identity = [&membership] { return (*membership)->identity(); };
  agent::ModelClient model_client(coordinator, config.insecure(), tls_identity);
  const auto models = agent::ModelCache::Open(
      {.directory = directory->path() / "models",
       .quota_bytes = config.model_quota_bytes(),
       .named_directories = {config.policy().model_directories().begin(), config.policy().model_directories().end()}},
      &model_client);
  if (!models.ok()) return Fail(kFailed, models.status(), agent::NextStepOfDataDirectory(models.status()));
  agent::PeerClock peer_clock;
  agent::RunSupervisor supervisor({.runner_program = "/proc/self/exe",
                                   .scratch_dir = *scratch,
                                   .cgroup_home = cgroup_home.get(),
                                   .models = models->get(),
                                   .commands = &*commands,
                                   .llama_server = config.llama_server(),
                                   .device = first_facts,
                                   .policy = config.policy(),
                                   .peer_clock = &peer_clock},
                                  spool->get());
  agent::Session session({.coordinator = coordinator,
                          .insecure = config.insecure(),
                          .tls_identity = tls_identity,
                          .identity = {.device_id = *device_id,
                                       .labels = {config.labels().begin(), config.labels().end()},
                                       .reconnect_max = std::chrono::ceil<std::chrono::milliseconds>(
                                           base::FromProto(config.reconnect_max()))},
                          .facts = facts},
                         spool->get(), &supervisor, &peer_clock);
  (*membership)->StartRenewing(coordinator, [&session] { session.Replace(); });

  std::optional<int> signal = shutdown->Wait(kStartTime);
  if (!signal) {
    agent::LockMemory(protection);
    signal = shutdown->Wait();
  }
  base::Log().info("stopping on signal {}", signal.value_or(0));
  (*membership)->StopRenewing();
  supervisor.Stop("the worker was stopped", kStopTimeout);
  if (const absl::Status status = (*spool)->Flush(kStopTimeout); !status.ok()) {
    base::Log().warn("not everything reached the disk: {}", std::string(status.message()));
  }
  if (!session.Stop(kStopTimeout))
    base::Log().info("{} bytes wait in the spool for the next start", (*spool)->unacknowledged_bytes());
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const auto command = agent::ParseWorkerCommand(std::vector<std::string>(argv + 1, argv + argc));
  if (!command.ok()) {
    return Fail(kUsage, command.status(), base::NextStepOf(command.status()).value_or("ballast-worker --help"));
  }
  switch (command->kind) {
    case agent::WorkerCommand::Kind::kRun:
      return ballast::runner::RunnerMain();
    case agent::WorkerCommand::Kind::kEnvironment:
      return environment::EnvironmentCommandMain(command->text, command->argv);
    case agent::WorkerCommand::Kind::kPrint:
      std::cout << command->text;
      return 0;
    case agent::WorkerCommand::Kind::kPrintFacts: {
      v1::DeviceFacts facts = agent::ReadDeviceFacts();
      agent::AddFactsOf(*environment::CgroupHome::Prepare(), &facts);
      agent::AddRuntimeFacts(command->config.llama_server(), &facts);
      std::cout << ballast::render::ToJson(facts) << "\n";
      return 0;
    }
    case agent::WorkerCommand::Kind::kServe:
      return Serve(command->config);
  }
  return kFailed;
}

// The program `ballast-coordinator`: wires the store and the server together.
#include <filesystem>
#include <iostream>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "common/base/file.h"
#include "common/base/logging.h"
#include "common/base/next_step.h"
#include "common/base/shutdown_signal.h"
#include "common/base/status.h"
#include "coordinator/rpc/coordinator_flags.h"
#include "coordinator/rpc/next_step.h"
#include "coordinator/rpc/server.h"
#include "storage/sqlite/sqlite_store.h"

namespace {

namespace base = ballast::base;
namespace coordinator = ballast::coordinator;

constexpr int kFailed = 1;
constexpr int kUsage = 2;

int Fail(int exit_code, const absl::Status& status, std::string_view next_step) {
  std::cerr << fmt::format("error: {}\n  try: {}\n", std::string(status.message()), next_step);
  return exit_code;
}

int Fail(const absl::Status& status) {
  const int exit_code = status.code() == absl::StatusCode::kInvalidArgument ? kUsage : kFailed;
  const std::string next_step = coordinator::NextStepOf(status);
  return Fail(exit_code, status, next_step.empty() ? "ballast-coordinator --help" : next_step);
}

int Serve(const ballast::v1::CoordinatorConfig& config) {
  if (const absl::Status status = base::InitLogging("ballast-coordinator", config.log_level()); !status.ok()) {
    return Fail(kUsage, status, "ballast-coordinator --help");
  }
  // First, so that every thread has the signals blocked.
  const absl::StatusOr<base::ShutdownSignal> shutdown = base::ShutdownSignal::Create();
  if (!shutdown.ok()) return Fail(kFailed, shutdown.status(), "raise the limit of open files (ulimit -n)");
  const std::filesystem::path directory = config.data_dir();
  if (const absl::Status status = base::EnsureWritableDirectory(directory); !status.ok()) {
    return Fail(coordinator::OfDataDirectory(base::WithContext(status, "data directory")));
  }
  const auto store = ballast::storage::OpenSqliteStore(directory / "ballast.db");
  if (!store.ok()) return Fail(coordinator::OfStore(store.status()));
  const auto server = coordinator::Server::Start(config, store->get());
  if (!server.ok()) return Fail(server.status());
  std::cout << fmt::format("listening on {}\n", (*server)->address()) << std::flush;
  const std::optional<int> signal = shutdown->Wait();
  base::Log().info("stopping on signal {}", signal.value_or(0));
  (*server)->Stop();
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const auto command = coordinator::ParseCoordinatorCommand(std::vector<std::string>(argv + 1, argv + argc));
  if (!command.ok()) {
    return Fail(kUsage, command.status(), base::NextStepOf(command.status()).value_or("ballast-coordinator --help"));
  }
  if (command->kind == coordinator::CoordinatorCommand::Kind::kPrint) {
    std::cout << command->text;
    return 0;
  }
  return Serve(command->config);
}

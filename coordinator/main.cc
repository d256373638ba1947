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
#include "common/base/shutdown_signal.h"
#include "common/base/status.h"
#include "coordinator/rpc/coordinator_flags.h"
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

std::string_view NextStepOfStore(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kFailedPrecondition:
      return "stop the other coordinator, install the version that made the database, or give another --data-dir";
    case absl::StatusCode::kDataLoss:
      return "put a copy of the database in its place, or give another --data-dir";
    default:
      return "give a --data-dir on a disk that can be written and has room";
  }
}

std::string_view NextStepOfServer(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kAlreadyExists:
      return "stop the other program, or give another --listen address (port 0 chooses a free port)";
    case absl::StatusCode::kFailedPrecondition:
      return "--listen 127.0.0.1:7850, --listen unix:/PATH, or --insecure";
    case absl::StatusCode::kDataLoss:
      return "put a copy of the database in its place, or give another --data-dir";
    default:
      return "give a --listen address of this machine, as HOST:PORT or unix:/PATH";
  }
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
    return Fail(kFailed, base::WithContext(status, "data directory"), "give a --data-dir that can be written");
  }
  const auto store = ballast::storage::OpenSqliteStore(directory / "ballast.db");
  if (!store.ok()) return Fail(kFailed, store.status(), NextStepOfStore(store.status()));
  const auto server = coordinator::Server::Start(config, store->get());
  if (!server.ok()) {
    const int exit_code = server.status().code() == absl::StatusCode::kInvalidArgument ? kUsage : kFailed;
    return Fail(exit_code, server.status(), NextStepOfServer(server.status()));
  }
  std::cout << fmt::format("listening on {}\n", (*server)->address()) << std::flush;
  const std::optional<int> signal = shutdown->Wait();
  spdlog::info("stopping on signal {}", signal.value_or(0));
  (*server)->Stop();
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const auto command = coordinator::ParseCoordinatorCommand(std::vector<std::string>(argv + 1, argv + argc));
  if (!command.ok()) return Fail(kUsage, command.status(), "ballast-coordinator --help");
  if (command->kind == coordinator::CoordinatorCommand::Kind::kPrint) {
    std::cout << command->text;
    return 0;
  }
  return Serve(command->config);
}

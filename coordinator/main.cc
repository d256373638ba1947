// The program `ballast-coordinator`: wires the store and the server together.
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "common/base/file.h"
#include "common/base/logging.h"
#include "common/base/next_step.h"
#include "common/base/shutdown_signal.h"
#include "common/base/status.h"
#include "common/base/units.h"
#include "coordinator/rpc/access_commands.h"
#include "coordinator/rpc/coordinator_flags.h"
#include "coordinator/rpc/maintenance_flags.h"
#include "coordinator/rpc/next_step.h"
#include "coordinator/rpc/pki.h"
#include "coordinator/rpc/server.h"
#include "storage/sqlite/backup.h"
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
  if (const absl::Status status = base::EnsureWritableDirectory(directory, base::kPrivateDirectoryMode); !status.ok()) {
    return Fail(coordinator::OfDataDirectory(base::WithContext(status, "data directory")));
  }
  coordinator::Pki::RemoveLeftovers(directory);
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

// One line on standard error for each stage, overwritten as it goes on where somebody looks on.
class ProgressLine {
 public:
  absl::Status Show(std::string_view stage, std::uint64_t done_bytes, std::uint64_t total_bytes) {
    if (signal_.Wait(std::chrono::milliseconds(0)).has_value()) {
      return absl::CancelledError("interrupted; nothing was changed");
    }
    if (!is_terminal_) return absl::OkStatus();
    const std::uint64_t percent = total_bytes == 0 ? 0 : 100 * done_bytes / total_bytes;
    if (stage == stage_ && percent == percent_) return absl::OkStatus();
    stage_ = stage;
    percent_ = percent;
    const std::string share = total_bytes == 0 ? "" : fmt::format(" {} %", percent);
    std::cerr << fmt::format("\r{:<24}", fmt::format("{}{}", stage, share)) << std::flush;
    return absl::OkStatus();
  }
  explicit ProgressLine(const base::ShutdownSignal& signal) : signal_(signal), is_terminal_(::isatty(2) == 1) {}
  ~ProgressLine() {
    if (is_terminal_ && !stage_.empty()) std::cerr << fmt::format("\r{:<24}\r", "") << std::flush;
  }
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

 private:
  const base::ShutdownSignal& signal_;
  const bool is_terminal_;
  std::string stage_;
  std::uint64_t percent_ = 0;
};

absl::StatusOr<std::string> Maintain(const coordinator::MaintenanceCommand& command,
                                     const ballast::storage::OnProgress& progress) {
  using Kind = coordinator::MaintenanceCommand::Kind;
  const std::filesystem::path database = std::filesystem::path(command.data_dir) / "ballast.db";
  if (command.kind == Kind::kBackup) {
    BALLAST_ASSIGN_OR_RETURN(const std::uint64_t bytes,
                             ballast::storage::BackUpDatabase(database, command.file, command.force, progress));
    return fmt::format("{} holds {}, {}\n", command.file, database.string(), base::FormatBytes(bytes));
  }
  if (command.kind == Kind::kRestore) {
    BALLAST_RETURN_IF_ERROR(ballast::storage::RestoreDatabase(command.file, database, progress));
    return fmt::format("{} is restored from {}\n", database.string(), command.file);
  }
  BALLAST_ASSIGN_OR_RETURN(const ballast::storage::CompactOutcome outcome,
                           ballast::storage::CompactDatabase(database, progress));
  return fmt::format("{} has {} now, before {}\n", database.string(), base::FormatBytes(outcome.bytes_after),
                     base::FormatBytes(outcome.bytes_before));
}

int MaintainAndTell(std::vector<std::string> arguments) {
  const std::string help = fmt::format("ballast-coordinator {} --help", arguments.front());
  const auto command = coordinator::ParseMaintenanceCommand(std::move(arguments));
  if (!command.ok()) return Fail(kUsage, command.status(), base::NextStepOf(command.status()).value_or(help));
  if (command->kind == coordinator::MaintenanceCommand::Kind::kPrint) {
    std::cout << command->text;
    return 0;
  }
  const absl::StatusOr<base::ShutdownSignal> shutdown = base::ShutdownSignal::Create();
  if (!shutdown.ok()) return Fail(kFailed, shutdown.status(), "raise the limit of open files (ulimit -n)");
  absl::StatusOr<std::string> done;
  {
    ProgressLine line(*shutdown);
    done = Maintain(*command, [&line](std::string_view stage, std::uint64_t done_bytes, std::uint64_t total_bytes) {
      return line.Show(stage, done_bytes, total_bytes);
    });
  }
  if (!done.ok()) return Fail(kFailed, done.status(), coordinator::NextStepOfMaintenance(done.status()));
  std::cout << *done;
  return 0;
}

int Print(const absl::StatusOr<std::string>& text) {
  if (!text.ok()) return Fail(text.status());
  std::cout << *text;
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (std::vector<std::string> arguments(argv + 1, argv + argc); coordinator::IsMaintenanceCommand(arguments)) {
    return MaintainAndTell(std::move(arguments));
  }
  const auto command = coordinator::ParseCoordinatorCommand(std::vector<std::string>(argv + 1, argv + argc));
  if (!command.ok()) {
    return Fail(kUsage, command.status(), base::NextStepOf(command.status()).value_or("ballast-coordinator --help"));
  }
  switch (command->kind) {
    case coordinator::CoordinatorCommand::Kind::kPrint:
      return Print(command->text);
    case coordinator::CoordinatorCommand::Kind::kInit:
      return Print(coordinator::InitAuthority(*command));
    case coordinator::CoordinatorCommand::Kind::kToken:
      return Print(coordinator::MakeToken(*command));
    case coordinator::CoordinatorCommand::Kind::kServe:
      return Serve(command->config);
  }
  return kFailed;
}

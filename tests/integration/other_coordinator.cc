// The coordinator as it could be elsewhere or later: with a clock that a test sets, and with a schema of a version to
// come. Flags are those of ballast-coordinator; what is different stands in the environment:
//
//   BALLAST_TEST_CLOCK   a file with the seconds by which its wall clock is ahead, read at each look at the clock
//   BALLAST_TEST_SCHEMA  `added`: one more step, which adds to tables that have rows; `changed`: one that programs of
//                        this version do not understand
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "common/base/clock.h"
#include "common/base/logging.h"
#include "common/base/shutdown_signal.h"
#include "coordinator/rpc/coordinator_flags.h"
#include "coordinator/rpc/server.h"
#include "storage/sqlite/migrations.h"
#include "storage/sqlite/sqlite_store.h"

namespace {

namespace base = ballast::base;
namespace coordinator = ballast::coordinator;
namespace storage = ballast::storage;

constexpr const char* kStep =
    "ALTER TABLE runs ADD COLUMN lab TEXT NOT NULL DEFAULT 'here';"
    "CREATE INDEX runs_by_lab ON runs (lab, create_time_ns, run_id);"
    "CREATE TABLE labs (name TEXT NOT NULL PRIMARY KEY, chunk_count INTEGER NOT NULL) STRICT;"
    "INSERT INTO labs SELECT 'here', count(*) FROM chunks;";

std::string Variable(const char* name) {
  const char* const value = std::getenv(name);
  return value == nullptr ? std::string() : value;
}

class SetClock final : public base::Clock {
 public:
  explicit SetClock(std::filesystem::path file) : file_(std::move(file)) {}

  [[nodiscard]] base::SystemTime Now() const override {
    double ahead = 0;
    std::ifstream(file_) >> ahead;
    return base::RealClock().Now() +
           std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::duration<double>(ahead));
  }
  [[nodiscard]] std::chrono::nanoseconds Monotonic() const override { return base::RealClock().Monotonic(); }

 private:
  const std::filesystem::path file_;
};

int Fail(const absl::Status& status) {
  std::cerr << fmt::format("error: {}\n", std::string(status.message()));
  return 1;
}

int Serve(const ballast::v1::CoordinatorConfig& config) {
  if (const absl::Status status = base::InitLogging("other_coordinator", config.log_level()); !status.ok())
    return Fail(status);
  const auto shutdown = base::ShutdownSignal::Create();
  if (!shutdown.ok()) return Fail(shutdown.status());
  std::vector<storage::Migration> migrations(storage::Migrations().begin(), storage::Migrations().end());
  if (const std::string schema = Variable("BALLAST_TEST_SCHEMA"); !schema.empty()) {
    const storage::Migration last = migrations.back();
    const int oldest = schema == "added" ? last.oldest_compatible_version : last.version + 1;
    migrations.push_back({.version = last.version + 1, .oldest_compatible_version = oldest, .sql = kStep});
  }
  const auto store = storage::OpenSqliteStore(std::filesystem::path(config.data_dir()) / "ballast.db", migrations);
  if (!store.ok()) return Fail(store.status());
  const SetClock clock(Variable("BALLAST_TEST_CLOCK"));
  const auto server = coordinator::Server::Start(config, store->get(), clock);
  if (!server.ok()) return Fail(server.status());
  std::cout << fmt::format("listening on {}\n", (*server)->address()) << std::flush;
  (void)shutdown->Wait();
  (*server)->Stop();
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const auto command = coordinator::ParseCoordinatorCommand(std::vector<std::string>(argv + 1, argv + argc));
  if (!command.ok()) return Fail(command.status());
  return Serve(command->config);
}

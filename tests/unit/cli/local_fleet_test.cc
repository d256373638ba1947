// The private fleet's house: lock, socket, programs, logs. The programs here are small scripts; the real ones are
// started by the integration tests.
#include "cli/local_fleet.h"

#include <sys/file.h>

#include <fcntl.h>
#include <unistd.h>

#include <fstream>

#include <fmt/format.h>

#include "cli/error_text.h"
#include "common/base/file.h"
#include "gmock/gmock.h"
#include "tests/unit/cli/command_fixture.h"

namespace ballast::cli {
namespace {

using testing::HasSubstr;

class LocalFleetTest : public CommandTest {
 protected:
  absl::StatusOr<std::unique_ptr<LocalFleet>> Open(LocalFleet::Role role = LocalFleet::Role::kAny) {
    return LocalFleet::Open(data_, role, context_);
  }

  std::filesystem::path data_ = directory_.path() / "data" / "ballast";
};

TEST_F(LocalFleetTest, TheOwnerStartsAndEndsTheCoordinator) {
  WriteProgram("ballast-coordinator", "echo \"$@\" >&2; echo listening on $2; touch $4.started; exec sleep 600\n");
  {
    const auto fleet = Open();
    ASSERT_TRUE(fleet.ok()) << fleet.status();
    EXPECT_TRUE((*fleet)->owner());
    EXPECT_EQ((*fleet)->address(), "unix:" + (data_ / "coordinator.sock").string());
    EXPECT_TRUE((*fleet)->CheckChildren().ok());
    const base::Fd lock = *base::OpenFile(data_ / "lock", O_RDWR);
    EXPECT_NE(::flock(lock.get(), LOCK_EX | LOCK_NB), 0) << "owned";
    EXPECT_EQ(*base::ReadFile(data_ / "lock"), fmt::format("{}\n", ::getpid()));
  }
  const base::Fd lock = *base::OpenFile(data_ / "lock", O_RDWR);
  EXPECT_EQ(::flock(lock.get(), LOCK_EX | LOCK_NB), 0) << "nobody holds it: the child is gone as well";
  EXPECT_THAT(*base::ReadFile(data_ / "coordinator.log"),
              HasSubstr("--listen unix:" + (data_ / "coordinator.sock").string() + " --data-dir " +
                        (data_ / "coordinator").string()));
  EXPECT_EQ(std::filesystem::status(data_).permissions(), std::filesystem::perms::owner_all);
}

TEST_F(LocalFleetTest, ACoordinatorThatEndsIsShownWithTheEndOfItsLog) {
  WriteProgram("ballast-coordinator", "echo 'error: the database is newer' >&2; exit 1\n");
  const auto fleet = Open();
  EXPECT_EQ(fleet.status().code(), absl::StatusCode::kUnavailable);
  const std::string text = FormatError(fleet.status());
  EXPECT_THAT(text,
              HasSubstr("error: the private coordinator ended with exit code 1\n  | error: the database is newer\n"));
  EXPECT_THAT(text, HasSubstr("  try: read " + (data_ / "coordinator.log").string()));
  // What an earlier start said is not shown again.
  WriteProgram("ballast-coordinator", "echo 'error: something else' >&2; exit 1\n");
  EXPECT_THAT(FormatError(Open().status()), testing::Not(HasSubstr("newer")));
}

TEST_F(LocalFleetTest, TheUsersVariablesNeverReachADisk) {
  WriteProgram("ballast-coordinator", "echo listening on x; exec sleep 600\n");
  WriteProgram("ballast-worker", "cat $6 > " + (directory_.path() / "read").string() + "; exec sleep 600\n");
  // As a command of an earlier version left it that was killed.
  std::filesystem::create_directories(data_);
  std::ofstream(data_ / "worker.yaml") << "secret\n";
  const auto fleet = Open(LocalFleet::Role::kOwner);
  ASSERT_TRUE(fleet.ok()) << fleet.status();
  EXPECT_FALSE(std::filesystem::exists(data_ / "worker.yaml"));
  v1::CommandDefinition command;
  command.set_command_id("tool");
  (*command.mutable_environment())["TOKEN"] = "secret";
  (*fleet)->OfferCommand(command);
  ASSERT_TRUE((*fleet)->StartWorker().ok());
  while (base::ReadFile(directory_.path() / "read").value_or("").find("TOKEN: secret") == std::string::npos) {
    ASSERT_FALSE(interrupts_.WaitFor(std::chrono::milliseconds(1)));
    ASSERT_TRUE((*fleet)->CheckChildren().ok());
  }
  for (const auto& entry : std::filesystem::recursive_directory_iterator(data_)) {
    if (!entry.is_regular_file()) continue;
    EXPECT_THAT(base::ReadFile(entry.path()).value_or(""), testing::Not(HasSubstr("secret"))) << entry.path();
  }
}

TEST_F(LocalFleetTest, AnythingButTheReadyLineIsAFailure) {
  WriteProgram("ballast-coordinator", "echo hello; exec sleep 600\n");
  EXPECT_THAT(std::string(Open().status().message()), HasSubstr("said 'hello'"));
}

TEST_F(LocalFleetTest, AWorkerThatEndsIsNoticed) {
  WriteProgram("ballast-coordinator", "echo listening on x; exec sleep 600\n");
  WriteProgram("ballast-worker", "echo 'error: the spool is damaged' >&2; exit 3\n");
  const auto fleet = Open(LocalFleet::Role::kOwner);
  ASSERT_TRUE(fleet.ok()) << fleet.status();
  ASSERT_TRUE((*fleet)->StartWorker().ok());
  absl::Status status;
  while ((status = (*fleet)->CheckChildren()).ok()) ASSERT_FALSE(interrupts_.WaitFor(std::chrono::milliseconds(1)));
  EXPECT_THAT(FormatError(status),
              HasSubstr("error: the private worker ended with exit code 3\n  | error: the spool is damaged\n"));
}

TEST_F(LocalFleetTest, ChildrenThatEndAreStartedAgainButNotForEver) {
  WriteProgram("ballast-coordinator", "echo listening on x; exec sleep 600\n");
  WriteProgram("ballast-worker", "echo 'error: the spool is damaged' >&2; exit 3\n");
  const auto fleet = Open(LocalFleet::Role::kOwner);
  ASSERT_TRUE(fleet.ok()) << fleet.status();
  EXPECT_EQ((*fleet)->ChildFds().size(), 1U) << "the coordinator";
  ASSERT_TRUE((*fleet)->StartWorker().ok());
  std::vector<std::string> notes;
  absl::Status status;
  do {
    ASSERT_FALSE(interrupts_.WaitFor(std::chrono::milliseconds(1)));
    status = (*fleet)->RestartEnded([&notes](const std::string& note) { notes.push_back(note); });
  } while (status.ok());
  EXPECT_EQ(notes, std::vector<std::string>(3, "the private worker ended with exit code 3; starting it again"));
  EXPECT_THAT(FormatError(status),
              HasSubstr("error: the private worker ended with exit code 3, after it had been started again 3 times\n"
                        "  | error: the spool is damaged\n"));
}

TEST_F(LocalFleetTest, AMissingProgramIsNamedWithWhatToDo) {
  const auto fleet = Open();
  EXPECT_EQ(fleet.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(FormatError(fleet.status()), HasSubstr("ballast-coordinator"));
  EXPECT_THAT(FormatError(fleet.status()), HasSubstr("--coordinator ADDR"));
  EXPECT_EQ(Run({"runs", "list"}), 3);
}

TEST_F(LocalFleetTest, ADataDirectoryThatCannotBeWrittenIsCode3) {
  std::ofstream(directory_.path() / "data") << "";
  EXPECT_EQ(Open().status().code(), absl::StatusCode::kPermissionDenied);
  variables_["XDG_DATA_HOME"] = (directory_.path() / "data").string();
  EXPECT_EQ(Run({"runs", "list"}), 3);
  EXPECT_THAT(err(), HasSubstr("XDG_DATA_HOME"));
}

TEST_F(LocalFleetTest, WhoWantsToOwnWaitsForTheOwnerAndCanGiveUp) {
  ASSERT_TRUE(base::EnsureWritableDirectory(data_).ok());
  const base::Fd lock = *base::OpenFile(data_ / "lock", O_RDWR | O_CREAT);
  ASSERT_EQ(::flock(lock.get(), LOCK_EX | LOCK_NB), 0);
  interrupts_.Raise();
  EXPECT_EQ(Open(LocalFleet::Role::kOwner).status().code(), absl::StatusCode::kCancelled);
  EXPECT_THAT(err(), HasSubstr("waiting for another ballast command"));
}

TEST_F(LocalFleetTest, ALongPathGetsAShortSocketInAPrivateDirectory) {
  variables_["XDG_RUNTIME_DIR"] = directory_.path().string();
  const std::filesystem::path deep = directory_.path() / std::string(120, 'x');
  const auto path = SocketPath(deep, context_);
  ASSERT_TRUE(path.ok()) << path.status();
  EXPECT_LT(path->string().size(), 108U);
  EXPECT_EQ(*SocketPath(deep, context_), *path) << "the same in every command";
  EXPECT_NE(*SocketPath(deep / "other", context_), *path);
  EXPECT_EQ(std::filesystem::status(path->parent_path()).permissions(), std::filesystem::perms::owner_all);
  std::filesystem::permissions(path->parent_path(), std::filesystem::perms::all);
  EXPECT_EQ(SocketPath(deep, context_).status().code(), absl::StatusCode::kPermissionDenied) << "open to others";
}

}  // namespace
}  // namespace ballast::cli

#include "worker/model/llama_load.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fmt/format.h>

#include "common/base/file.h"
#include "common/os/cgroup.h"
#include "tests/unit/worker/model/load_fixture.h"

namespace ballast::model {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

class LlamaLoadTest : public LoadFixture {
 protected:
  LlamaLoadTest() { ::setenv("FAKE_LLAMA_ARGUMENTS", arguments_file_.c_str(), 1); }
  ~LlamaLoadTest() override {
    ::unsetenv("FAKE_LLAMA_ARGUMENTS");
    ::unsetenv("FAKE_LLAMA_MODE");
    ::unsetenv("FAKE_LLAMA_VERSION");
  }

  v1::LoadTask LlamaTask(const std::string& version, const std::string& mode) {
    ::setenv("FAKE_LLAMA_VERSION", version.c_str(), 1);
    ::setenv("FAKE_LLAMA_MODE", mode.c_str(), 1);
    v1::LoadTask task = Task(WriteModel());
    task.set_runtime_program(FAKE_LLAMA_SERVER);
    task.mutable_load()->set_runtime(v1::ModelLoad::LLAMA_CPP);
    task.mutable_load()->set_passes(40);
    task.mutable_load()->set_context_tokens(512);
    task.mutable_load()->mutable_timeout()->set_seconds(50);
    return task;
  }

  // What the server was started with.
  std::string Arguments() const {
    std::ifstream file(arguments_file_);
    std::stringstream content;
    content << file.rdbuf();
    return content.str();
  }

  void ExpectNoChild() {
    EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1);
    EXPECT_EQ(errno, ECHILD);
  }

  std::filesystem::path arguments_file_ = directory_.path() / "arguments";
};

TEST_F(LlamaLoadTest, TellsStagesAndFigures) {
  for (const std::string version : {"old", "new"}) {
    const v1::RunnerFinished finished = Execute(LlamaTask(version, ""));
    ASSERT_EQ(finished.outcome(), v1::COMPLETED) << finished.message();
    EXPECT_THAT(observer_.PhaseKinds(), ElementsAre(v1::Phase::PREPARE, v1::Phase::LOAD, v1::Phase::INFER));
    EXPECT_THAT(observer_.StageKinds(), ElementsAre(v1::LoadStage::PARSE, v1::LoadStage::LOAD,
                                                    v1::LoadStage::FIRST_PASS, v1::LoadStage::PASSES));
    const v1::RuntimeFigures& figures = finished.load().runtime_figures();
    EXPECT_THAT(figures.version(), HasSubstr(version == "old" ? "4748" : "9000"));
    EXPECT_EQ(figures.prompt_tokens(), 32U);
    EXPECT_DOUBLE_EQ(figures.prompt_tokens_per_second(), 320);
    EXPECT_EQ(figures.generated_tokens(), 40U);
    EXPECT_DOUBLE_EQ(figures.generated_tokens_per_second(), 20);
    EXPECT_EQ(observer_.Stage(v1::LoadStage::PASSES).pass_count(), 40U);
    EXPECT_GE(base::FromProto(observer_.Stage(v1::LoadStage::LOAD).duration()), std::chrono::milliseconds(200));
    // The runner's and the server's.
    EXPECT_GT(observer_.Stage(v1::LoadStage::LOAD).footprint().resident_bytes(),
              observer_.Stage(v1::LoadStage::PARSE).footprint().resident_bytes() + (5U << 20U));
    EXPECT_EQ(finished.load().checksum(), 0U);
    EXPECT_EQ(observer_.runtimes.size(), 1U);
    ExpectNoChild();
  }
}

TEST_F(LlamaLoadTest, AVersionGetsTheFlagsThatItHas) {
  v1::LoadTask task = LlamaTask("new", "");
  task.mutable_load()->set_loader(v1::ModelLoad::DIRECT);
  task.mutable_load()->set_no_repack(true);
  task.mutable_load()->set_threads(3);
  v1::RunnerFinished finished = Execute(task);
  ASSERT_EQ(finished.outcome(), v1::COMPLETED) << finished.message();
  EXPECT_THAT(Arguments(), HasSubstr("--load-mode dio"));
  EXPECT_THAT(Arguments(), HasSubstr("--no-repack"));
  EXPECT_THAT(Arguments(), HasSubstr("-t 3 "));
  EXPECT_THAT(Arguments(), HasSubstr("-c 512"));
  EXPECT_TRUE(finished.load().runtime_figures().remarks().empty());

  task = LlamaTask("old", "");
  task.mutable_load()->set_loader(v1::ModelLoad::READ);
  task.mutable_load()->set_no_repack(true);
  finished = Execute(task);
  ASSERT_EQ(finished.outcome(), v1::COMPLETED) << finished.message();
  EXPECT_THAT(Arguments(), HasSubstr("--no-mmap"));
  EXPECT_THAT(Arguments(), Not(HasSubstr("--no-repack")));
  ASSERT_EQ(finished.load().runtime_figures().remarks_size(), 1);
  EXPECT_THAT(finished.load().runtime_figures().remarks(0), HasSubstr("--no-repack"));
}

TEST_F(LlamaLoadTest, WhatAVersionCannotDoFailsTheLoad) {
  v1::LoadTask task = LlamaTask("old", "");
  task.mutable_load()->set_loader(v1::ModelLoad::DIRECT);
  v1::RunnerFinished finished = Execute(task);
  EXPECT_EQ(finished.outcome(), v1::LOAD_FAILED);
  EXPECT_THAT(finished.message(), HasSubstr("cannot read past the page cache"));

  task = LlamaTask("new", "");
  task.mutable_load()->set_loader(v1::ModelLoad::READ);
  task.mutable_load()->set_lock(true);
  finished = Execute(task);
  EXPECT_EQ(finished.outcome(), v1::LOAD_FAILED);
  EXPECT_THAT(finished.message(), HasSubstr("cannot lock weights that are not mapped"));
}

// llama.cpp only warns where the kernel refuses.
TEST_F(LlamaLoadTest, ALockThatDidNotHappenFailsTheLoad) {
  v1::LoadTask task = LlamaTask("old", "");
  task.mutable_load()->set_lock(true);
  const v1::RunnerFinished finished = Execute(task);
  EXPECT_EQ(finished.outcome(), v1::LOAD_FAILED);
  EXPECT_THAT(finished.message(), HasSubstr("has locked 0 B of"));
  EXPECT_THAT(finished.message(), HasSubstr("RLIMIT_MEMLOCK"));
  ExpectNoChild();
}

TEST_F(LlamaLoadTest, ALockThatHappenedIsTrue) {
  v1::LoadTask task = LlamaTask("new", "locks");
  task.mutable_load()->set_lock(true);
  const v1::RunnerFinished finished = Execute(task);
  if (finished.message().find("RLIMIT_MEMLOCK") != std::string::npos) GTEST_SKIP() << finished.message();
  EXPECT_EQ(finished.outcome(), v1::COMPLETED) << finished.message();
  EXPECT_THAT(Arguments(), HasSubstr("--load-mode mlock"));
}

TEST_F(LlamaLoadTest, IsUsedForAsLongAsAsked) {
  v1::LoadTask task = LlamaTask("new", "");
  task.mutable_load()->set_passes(0);
  constexpr std::chrono::milliseconds kUse(200);
  *task.mutable_load()->mutable_use_duration() = base::ToProto(kUse);
  TellUseSlowly(kUse);
  const v1::RunnerFinished finished = Execute(task);
  EXPECT_EQ(finished.outcome(), v1::COMPLETED) << finished.message();
  EXPECT_GE(base::FromProto(observer_.Stage(v1::LoadStage::PASSES).duration()), kUse);
  EXPECT_GE(finished.load().runtime_figures().generated_tokens(), 32U);
}

struct Failure {
  std::string mode;
  std::string said;
};

class LlamaFailureTest : public LlamaLoadTest, public testing::WithParamInterface<Failure> {};

TEST_P(LlamaFailureTest, IsToldWithItsCause) {
  const v1::RunnerFinished finished = Execute(LlamaTask("new", GetParam().mode));
  EXPECT_EQ(finished.outcome(), v1::LOAD_FAILED);
  EXPECT_THAT(finished.message(), HasSubstr(GetParam().said));
  ExpectNoChild();
}

INSTANTIATE_TEST_SUITE_P(
    Modes, LlamaFailureTest,
    testing::Values(Failure{"crashes",
                            "exited with code 3; its last words: main: loading | error loading model: tensor "
                            "'blk.0' is missing | main: exiting"},
                    Failure{"crashes_in_prompt", "signal 11 (SEGV); its last words: ggml_abort: cannot compute"},
                    Failure{"health_error", "answered 500 when it was asked whether it is ready"},
                    Failure{"prompt_error",
                            "answered 400 to a prompt: {\"error\": {\"message\": \"the prompt is too long"},
                    Failure{"no_json", "no JSON object: hello"}, Failure{"no_timings", "does not tell timings"},
                    Failure{"generates_nothing", "generated nothing"}),
    [](const auto& tested) { return tested.param.mode; });

TEST_F(LlamaLoadTest, WhereItSaidNothingThereAreNoLastWords) {
  EXPECT_EQ(Execute(LlamaTask("new", "silent")).message(), "llama-server exited with code 4");
}

TEST_F(LlamaLoadTest, OneThatHangsFailsAtTheTimeout) {
  for (const std::string mode : {"hangs", "prompt_hangs"}) {
    v1::LoadTask task = LlamaTask("new", mode);
    task.mutable_load()->mutable_timeout()->set_seconds(1);
    const v1::RunnerFinished finished = Execute(task);
    EXPECT_EQ(finished.outcome(), v1::LOAD_FAILED);
    EXPECT_THAT(finished.message(), HasSubstr("in time"));
    ExpectNoChild();
  }
}

TEST_F(LlamaLoadTest, AStopIsHeardAtOnce) {
  const std::filesystem::path hangs = arguments_file_.string() + ".hangs";
  for (const std::string mode : {"health_hangs", "prompt_hangs", "help_hangs"}) {
    stop_ = std::stop_source();
    std::filesystem::remove(hangs);
    std::jthread when_it_hangs([this, &hangs](const std::stop_token& test_ended) {
      while (!test_ended.stop_requested() && !std::filesystem::exists(hangs)) {
        std::this_thread::sleep_for(std::chrono::milliseconds(2));
      }
      stop_.request_stop();
    });
    const auto begun = base::RealClock().Monotonic();
    const v1::RunnerFinished finished = Execute(LlamaTask("new", mode));
    EXPECT_EQ(finished.outcome(), v1::CANCELLED) << finished.message();
    EXPECT_LT(base::RealClock().Monotonic() - begun, std::chrono::seconds(10));
    ExpectNoChild();
  }
}

// The kernel takes the largest process of a cgroup, which is the server, and the runner is left to tell.
TEST_F(LlamaLoadTest, AServerThatTheKernelKillsIsOomKilled) {
  const auto location = os::LocateCgroups();
  if (!location.ok() || location->memory_version != 1) GTEST_SKIP() << "needs the version 1 memory controller";
  const std::string home = location->memory_directories.front();
  const std::string group = fmt::format("{}/ballast-model-test-{}", home, ::getpid());
  if (::mkdir(group.c_str(), 0755) != 0) GTEST_SKIP() << "needs the right to make a cgroup (run as root)";
  const auto write = [](const std::string& path, const std::string& text) {
    const auto file = base::OpenFile(path, O_WRONLY);
    return file.ok() && base::WriteAll(file->get(), text).ok();
  };
  const v1::LoadTask task = LlamaTask("new", "eats_memory");
  const bool joined = write(group + "/memory.limit_in_bytes", "256M") && write(group + "/cgroup.procs", "0");
  write(group + "/memory.memsw.limit_in_bytes", "256M");
  const v1::RunnerFinished finished = joined ? Execute(task) : v1::RunnerFinished();
  ASSERT_TRUE(write(home + "/cgroup.procs", "0"));
  const auto deadline = base::RealClock().Monotonic() + std::chrono::seconds(20);
  while (::rmdir(group.c_str()) != 0 && base::RealClock().Monotonic() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  if (!joined) GTEST_SKIP() << "cannot enter a limited cgroup";
  EXPECT_EQ(finished.outcome(), v1::OOM_KILLED);
  EXPECT_THAT(finished.message(), HasSubstr("OOM killer ended llama-server"));
}

TEST_F(LlamaLoadTest, WhatIsNotInstalledIsNamed) {
  v1::LoadTask task = LlamaTask("new", "");
  task.set_runtime_program("no-such-llama-server");
  const v1::RunnerFinished finished = Execute(task);
  EXPECT_EQ(finished.outcome(), v1::LOAD_FAILED);
  EXPECT_THAT(finished.message(), HasSubstr("no-such-llama-server is not installed on this device; install llama.cpp"));
}

TEST_F(LlamaLoadTest, TheRealOneLoadsAndGenerates) {
  if (std::system("command -v llama-server >/dev/null") != 0) GTEST_SKIP() << "llama-server is not on the PATH";
  v1::LoadTask task = LlamaTask("new", "");
  task.set_runtime_program("");
  task.mutable_load()->set_passes(4);
  const v1::RunnerFinished finished = Execute(task);
  ASSERT_EQ(finished.outcome(), v1::COMPLETED) << finished.message();
  EXPECT_EQ(finished.load().runtime_figures().generated_tokens(), 4U);
  EXPECT_GT(finished.load().runtime_figures().generated_tokens_per_second(), 0);
}

}  // namespace
}  // namespace ballast::model

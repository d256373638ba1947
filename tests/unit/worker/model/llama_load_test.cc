#include "worker/model/llama_load.h"

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
  task.mutable_load()->mutable_use_duration()->set_nanos(200'000'000);
  const v1::RunnerFinished finished = Execute(task);
  EXPECT_EQ(finished.outcome(), v1::COMPLETED) << finished.message();
  EXPECT_GE(base::FromProto(observer_.Stage(v1::LoadStage::PASSES).duration()), std::chrono::milliseconds(199));
  EXPECT_GT(finished.load().runtime_figures().generated_tokens(), 32U);
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
  for (const std::string mode : {"hangs", "prompt_hangs", "help_hangs"}) {
    stop_ = std::stop_source();
    std::jthread later([this] {
      std::this_thread::sleep_for(std::chrono::milliseconds(500));
      stop_.request_stop();
    });
    const auto begun = base::RealClock().Monotonic();
    const v1::RunnerFinished finished = Execute(LlamaTask("new", mode));
    EXPECT_EQ(finished.outcome(), v1::CANCELLED) << finished.message();
    EXPECT_LT(base::RealClock().Monotonic() - begun, std::chrono::seconds(10));
    ExpectNoChild();
  }
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

// Runs of programs, carried out with real runners.
#include "worker/agent/command_series.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <csignal>
#include <fstream>

#include "tests/unit/worker/agent/limited_group_fixture.h"
#include "worker/environment/cgroup_home.h"

namespace ballast::agent {
namespace {

using std::chrono::milliseconds;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr std::uint64_t kMib = 1U << 20U;
constexpr std::uint64_t kLimit = 256 * kMib;

v1::CommandResult Ended(std::uint32_t index, v1::OutcomeKind kind, const std::string& message) {
  v1::CommandResult command;
  command.set_index(index);
  command.set_command_id("import");
  command.mutable_outcome()->set_kind(kind);
  command.mutable_outcome()->set_message(message);
  return command;
}

TEST(JudgeCommandsTest, ARunEndsAsItsFirstExecutionThatDidNotComplete) {
  v1::Outcome outcome;
  outcome.set_kind(v1::COMPLETED);
  outcome.set_message("held 70 %");
  JudgeCommands(
      {Ended(1, v1::COMPLETED, "code 0"), Ended(2, v1::COMMAND_FAILED, "code 3"), Ended(3, v1::OOM_KILLED, "killed")},
      &outcome);
  EXPECT_EQ(outcome.kind(), v1::COMMAND_FAILED);
  EXPECT_THAT(outcome.message(), AllOf(HasSubstr("execution 2: code 3"), HasSubstr("1 of 3 executions of import"),
                                       HasSubstr("1 COMMAND_FAILED")));
}

TEST(JudgeCommandsTest, ACompletedRunCountsThemAndThePressureComesFirst) {
  v1::Outcome outcome;
  outcome.set_kind(v1::COMPLETED);
  outcome.set_message("held 70 %");
  JudgeCommands({Ended(1, v1::COMPLETED, "code 0")}, &outcome);
  EXPECT_EQ(outcome.message(), "1 of 1 executions of import completed; held 70 %");
  outcome.set_kind(v1::GUARD_STOPPED);
  JudgeCommands({Ended(1, v1::COMMAND_FAILED, "code 3")}, &outcome);
  EXPECT_EQ(outcome.kind(), v1::GUARD_STOPPED);
}

// The tests of whole runs, with or without a limited cgroup around them.
template <typename Base>
class CommandRun : public Base {
 protected:
  template <typename... Arguments>
  explicit CommandRun(Arguments... arguments) : Base(arguments...) {}

  void Offer(const std::string& script) {
    google::protobuf::RepeatedPtrField<v1::CommandDefinition> commands;
    v1::CommandDefinition* const command = commands.Add();
    command->set_command_id("script");
    command->set_program("/bin/sh");
    // Braces of the script are no parameters.
    std::string escaped;
    for (const char c : script) escaped += std::string(c == '{' || c == '}' ? 2 : 1, c);
    for (const std::string& argument : {std::string("-c"), escaped, std::string("sh"), std::string("{value}")}) {
      command->add_arguments(argument);
    }
    v1::CommandParameter* const parameter = command->add_parameters();
    parameter->set_name("value");
    parameter->set_pattern(".*");
    parameter->set_default_value("");
    catalogue_ = CommandCatalogue::Create(commands, this->directory_.string()).value();
    this->options_.commands = &catalogue_;
    this->options_.device.add_capabilities(v1::WORKLOAD_COMMAND);
  }

  [[nodiscard]] v1::Assignment Executions(std::uint32_t count) const {
    v1::Assignment assignment;
    assignment.set_run_id(this->key_.run_id);
    assignment.set_attempt(this->key_.attempt);
    v1::JobSpec* const spec = assignment.mutable_spec();
    v1::CommandWorkload* const command = spec->mutable_workload()->mutable_command();
    command->set_command_id("script");
    command->set_executions(count);
    v1::PressureWorkload* const pressure = command->mutable_pressure();
    *pressure->mutable_baseline() = base::ToProto(milliseconds(20));
    *pressure->mutable_recovery() = base::ToProto(milliseconds(20));
    pressure->mutable_staircase()->set_steps(2);
    pressure->mutable_staircase()->set_step_size_bytes(8 * kMib);
    *pressure->mutable_staircase()->mutable_interval() = base::ToProto(milliseconds(20));
    *spec->mutable_telemetry()->mutable_sample_interval() = base::ToProto(milliseconds(20));
    return assignment;
  }

  v1::RunResult Run(const v1::Assignment& assignment) {
    this->OpenSpool();
    RunExecutor executor(this->options_, this->spool_.get());
    if (const auto rejected = executor.Execute(assignment, control_.get(), this)) {
      ADD_FAILURE() << rejected->reason();
      return {};
    }
    EXPECT_TRUE(ChildrenOfThisProcess().empty());
    this->Flush();
    records_ = this->ReadAll();
    return records_.back().finished().result();
  }

  CommandCatalogue catalogue_;
  std::unique_ptr<RunControl> control_ = RunControl::Create().value();
  std::vector<v1::Record> records_;
};

class CommandRunTest : public CommandRun<RunFixture> {};

TEST_F(CommandRunTest, ExecutionsOneAfterTheOtherBesideThePressure) {
  Offer("echo out $1; echo err >&2; pwd >&2; exit 0");
  v1::Assignment assignment = Executions(2);
  (*assignment.mutable_spec()->mutable_workload()->mutable_command()->mutable_parameters())["value"] = "a 'b'; $(id)";
  std::vector<v1::RunProgress> progress;
  on_progress_ = [&progress](const v1::RunProgress& now) { progress.push_back(now); };
  const v1::RunResult result = Run(assignment);
  EXPECT_EQ(result.outcome().kind(), v1::COMPLETED) << result.outcome().message();
  EXPECT_THAT(result.outcome().message(), HasSubstr("2 of 2 executions of script completed"));
  EXPECT_EQ(result.steps_size(), 2) << "the pressure's";
  ASSERT_EQ(result.commands_size(), 2);
  for (const v1::CommandResult& command : result.commands()) {
    EXPECT_EQ(command.outcome().kind(), v1::COMPLETED) << command.outcome().message();
    EXPECT_EQ(command.output_tail(), "out a 'b'; $(id)\n");
    EXPECT_EQ(command.error_tail(), "err\n" + std::filesystem::canonical(directory_).string() + "\n");
    EXPECT_EQ(command.output_bytes(), command.output_tail().size());
    EXPECT_EQ(command.argv_size(), 5);
    EXPECT_LT(base::FromProto(command.start_offset()), base::FromProto(command.end_offset()));
  }
  EXPECT_EQ(result.commands(1).index(), 2U);
  EXPECT_GE(base::FromProto(result.commands(1).start_offset()), base::FromProto(result.commands(0).end_offset()));
  std::vector<std::uint32_t> phases;
  for (const v1::Phase& phase : result.phases()) {
    if (phase.kind() != v1::Phase::EXECUTE) continue;
    phases.push_back(phase.load_index());
    EXPECT_TRUE(phase.has_end_offset());
  }
  EXPECT_THAT(phases, ElementsAre(1, 2));
  int ends = 0;
  for (const v1::Record& record : records_) {
    if (!record.has_chunk()) continue;
    for (const v1::Event& event : metrics::DecodeChunk(record.chunk())->events) {
      if (event.kind() == v1::Event::COMMAND_ENDED) ++ends;
    }
  }
  EXPECT_EQ(ends, 2);
  EXPECT_TRUE(std::ranges::any_of(progress, [](const v1::RunProgress& now) { return now.load_count() == 2; }));
}

TEST_F(CommandRunTest, WhatTheProgramTakesStandsApartFromThePressure) {
  // Some 48 MiB of its own, for long enough to be sampled.
  Offer("x=$(head -c 48000000 /dev/zero | tr '\\0' 'x'); sleep 0.3; echo ${#x}");
  const v1::RunResult result = Run(Executions(1));
  ASSERT_EQ(result.commands_size(), 1);
  const v1::CommandResult& command = result.commands(0);
  EXPECT_EQ(command.output_tail(), "48000000\n") << command.error_tail();
  EXPECT_GT(command.peak_resident_bytes(), 40 * kMib);
  EXPECT_GE(command.peak_memory_bytes(), 40 * kMib);
  EXPECT_GT(command.peak_anon_bytes(), 40 * kMib);
  EXPECT_GT(command.minor_faults(), 100U);
  EXPECT_GT(base::FromProto(command.user_cpu_time()).count() + base::FromProto(command.system_cpu_time()).count(), 0);
  EXPECT_LT(result.peak_held_bytes(), 40 * kMib) << "the pressure held 16 MiB";
}

TEST_F(CommandRunTest, EveryExecutionIsCarriedOutWhateverCameOfTheOthers) {
  const std::string count = (directory_ / "count").string();
  Offer("echo x >> " + count + "; n=$(wc -l < " + count +
        "); case $n in 1) exit 3;; 2) kill -SEGV $$;; 3) sleep 100;; 4) exit 0;; esac");
  v1::Assignment assignment = Executions(4);
  *assignment.mutable_spec()->mutable_workload()->mutable_command()->mutable_timeout() =
      base::ToProto(milliseconds(1500));
  const v1::RunResult result = Run(assignment);
  ASSERT_EQ(result.commands_size(), 4);
  EXPECT_EQ(result.outcome().kind(), v1::COMMAND_FAILED);
  EXPECT_THAT(result.outcome().message(), AllOf(HasSubstr("code 3"), HasSubstr("1 of 4 executions")));
  EXPECT_EQ(result.commands(0).outcome().kind(), v1::COMMAND_FAILED);
  EXPECT_EQ(result.commands(0).outcome().evidence().exit_code(), 3);
  EXPECT_EQ(result.commands(1).outcome().kind(), v1::COMMAND_FAILED);
  EXPECT_EQ(result.commands(1).outcome().evidence().signal(), SIGSEGV);
  EXPECT_EQ(result.commands(1).outcome().evidence().killer(), v1::SELF);
  EXPECT_EQ(result.commands(2).outcome().kind(), v1::TIMED_OUT);
  EXPECT_EQ(result.commands(3).outcome().kind(), v1::COMPLETED);
}

TEST_F(CommandRunTest, WhatCannotBeStartedIsInvalid) {
  Offer("");
  google::protobuf::RepeatedPtrField<v1::CommandDefinition> commands;
  commands.Add()->set_command_id("script");
  commands[0].set_program("/no/such/program");
  catalogue_ = CommandCatalogue::Create(commands, directory_.string()).value();
  const v1::RunResult result = Run(Executions(1));
  EXPECT_EQ(result.outcome().kind(), v1::INVALID);
  EXPECT_THAT(result.outcome().message(), AllOf(HasSubstr("/no/such/program"), HasSubstr("No such file")));
  ASSERT_EQ(result.commands_size(), 1);
  EXPECT_EQ(result.commands(0).peak_memory_bytes(), 0U) << "what the runner took is not the program's";
  EXPECT_EQ(result.commands(0).peak_resident_bytes(), 0U);
  EXPECT_FALSE(result.has_validity());
}

TEST_F(CommandRunTest, ACancellationEndsTheProgramAndWhatIsLeft) {
  Offer("echo begun; sleep 1000");
  on_progress_ = [this](const v1::RunProgress& progress) {
    if (progress.phase() == v1::Phase::EXECUTE) control_->RequestEnd({v1::CANCELLED, "by a user"});
  };
  const v1::RunResult result = Run(Executions(5));
  EXPECT_EQ(result.outcome().kind(), v1::CANCELLED);
  ASSERT_EQ(result.commands_size(), 1);
  EXPECT_EQ(result.commands(0).outcome().kind(), v1::CANCELLED);
}

TEST_F(CommandRunTest, UnknownCommandsAndParametersAreRefusedBeforeAnythingStarts) {
  Offer("exit 0");
  v1::Assignment assignment = Executions(1);
  config::ApplyDefaults(assignment.mutable_spec());
  assignment.mutable_spec()->mutable_workload()->mutable_command()->set_command_id("scrpt");
  auto rejected = CheckAssignment(assignment, options_.device, options_.commands);
  ASSERT_TRUE(rejected.has_value());
  EXPECT_EQ(rejected->outcome(), v1::INVALID);
  EXPECT_THAT(rejected->reason(), AllOf(HasSubstr("'scrpt'"), HasSubstr("it names script")));
  assignment.mutable_spec()->mutable_workload()->mutable_command()->set_command_id("script");
  EXPECT_FALSE(CheckAssignment(assignment, options_.device, options_.commands).has_value());
  EXPECT_TRUE(CheckAssignment(assignment, options_.device).has_value()) << "a worker without commands";
}

class LimitedCommandRunTest : public CommandRun<LimitedGroupFixture> {
 protected:
  LimitedCommandRunTest() : CommandRun(kLimit) {}
  void TearDown() override {
    cgroup_home_.reset();
    LimitedGroupFixture::TearDown();
  }
  std::unique_ptr<environment::CgroupHome> cgroup_home_;
};

TEST_F(LimitedCommandRunTest, AnOomKillEndsTheExecutionAndTheNextGoesOn) {
  cgroup_home_ = environment::CgroupHome::Prepare();
  options_.cgroup_home = cgroup_home_.get();
  const std::string marker = (directory_ / "marker").string();
  // The first takes all it can get.
  Offer("if [ -e " + marker + " ]; then exit 0; fi; touch " + marker + "; exec tail /dev/zero");
  v1::Assignment assignment = Executions(2);
  assignment.mutable_spec()->mutable_guard()->set_mode(v1::GuardSpec::OFF);
  const v1::RunResult result = Run(assignment);
  ASSERT_EQ(result.commands_size(), 2);
  const v1::CommandResult& killed = result.commands(0);
  EXPECT_EQ(killed.outcome().kind(), v1::OOM_KILLED) << killed.outcome().message();
  EXPECT_EQ(killed.outcome().evidence().killer(), v1::KERNEL_MEMCG_OOM);
  EXPECT_THAT(killed.outcome().message(), HasSubstr("the program"));
  EXPECT_EQ(killed.scope(), v1::CommandResult::CGROUP);
  EXPECT_GT(killed.peak_memory_bytes(), kLimit / 8);
  EXPECT_EQ(result.commands(1).outcome().kind(), v1::COMPLETED) << result.commands(1).outcome().message();
  EXPECT_EQ(result.outcome().kind(), v1::OOM_KILLED);
}

TEST_F(LimitedCommandRunTest, WhatItStartsEndsWithIt) {
  cgroup_home_ = environment::CgroupHome::Prepare();
  options_.cgroup_home = cgroup_home_.get();
  const std::string pid_file = (directory_ / "grandchild").string();
  Offer("setsid sleep 1000 & echo $! > " + pid_file + "; exit 0");
  const v1::RunResult result = Run(Executions(1));
  EXPECT_EQ(result.outcome().kind(), v1::COMPLETED) << result.outcome().message();
  const auto stat = base::ReadFile("/proc/" + std::to_string(std::stoi(base::ReadFile(pid_file).value())) + "/stat");
  EXPECT_TRUE(!stat.ok() || os::ParseProcessStat(*stat)->state == 'Z' || os::ParseProcessStat(*stat)->state == 'X');
}

}  // namespace
}  // namespace ballast::agent

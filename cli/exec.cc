// ballast exec: the program under test, under pressure when asked.
#include <unistd.h>

#include <cctype>
#include <filesystem>
#include <memory>
#include <optional>
#include <string_view>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include "cli/commands.h"
#include "cli/error_text.h"
#include "cli/job_flags.h"
#include "cli/key_value.h"
#include "cli/pressure_flags.h"
#include "cli/run_job.h"
#include "common/base/program.h"
#include "common/base/status.h"
#include "common/base/text.h"
#include "common/config/field_rules.h"

namespace ballast::cli {
namespace {

constexpr std::size_t kMostIdBytes = 64;

struct Flags {
  std::string command_id;
  std::optional<std::vector<std::string>> command_line;  // what stands behind `--`
  std::vector<std::string> parameters;
  std::string executions;
  std::string execution_timeout;
  PressureFlags pressure;
  JobFlags job;
  ResultFlags result;
};

absl::Status Usage(const std::string& message, const std::string& next_step) {
  return WithNextStep(absl::InvalidArgumentError(message), next_step);
}

// The program that a shell would start.
absl::StatusOr<std::filesystem::path> ProgramOf(const std::string& name, const Context& context) {
  if (name.find('/') != std::string::npos) {
    if (base::IsProgram(name)) return std::filesystem::absolute(name);
    return Usage(fmt::format("{} is no program that can be run", base::Quoted(name)),
                 "name an executable file behind --");
  }
  if (const auto path = base::FindOnPath(name, context.variable("PATH").value_or("")))
    return std::filesystem::absolute(*path);
  return Usage(fmt::format("there is no program {} on PATH", base::Quoted(name)),
               "name a program that is installed, or its path, behind --");
}

// A command's identifier from its program's name.
std::string IdOf(const std::filesystem::path& program) {
  std::string id = program.filename().string().substr(0, kMostIdBytes);
  for (char& c : id) {
    if (std::isalnum(static_cast<unsigned char>(c)) == 0 && c != '.' && c != '-') c = '_';
  }
  return id.empty() || std::isalnum(static_cast<unsigned char>(id.front())) == 0 ? "program" : id;
}

// A template that stands for this argument and nothing else.
std::string Escaped(const std::string& argument) {
  std::string escaped;
  for (const char c : argument) {
    if (c == '{' || c == '}') escaped += c;
    escaped += c;
  }
  return escaped;
}

// The user's command line as the private worker's one command: here and now, with the variables of the user's shell.
absl::StatusOr<v1::CommandDefinition> LocalCommand(const std::vector<std::string>& command_line,
                                                   const Context& context) {
  if (command_line.empty() || command_line.front().empty()) {
    return Usage("behind -- stands no program", "ballast exec -- python3 -c 'print(1)'");
  }
  for (const std::string& word : command_line) {
    if (base::FindInvalidUtf8(word) != std::string_view::npos) {
      return Usage(fmt::format("{} is not UTF-8 text, which a command line here must be", base::Quoted(word)),
                   "put it into a script, and run that");
    }
  }
  BALLAST_ASSIGN_OR_RETURN(const std::filesystem::path program, ProgramOf(command_line.front(), context));
  v1::CommandDefinition command;
  command.set_command_id(IdOf(program));
  command.set_program(program.string());
  for (std::size_t i = 1; i < command_line.size(); ++i) command.add_arguments(Escaped(command_line[i]));
  std::error_code error;
  command.set_working_directory(std::filesystem::current_path(error).string());
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    const std::size_t equals = text.find('=');
    if (equals == 0 || equals == std::string_view::npos || base::FindInvalidUtf8(text) != std::string_view::npos) {
      continue;
    }
    (*command.mutable_environment())[std::string(text.substr(0, equals))] = std::string(text.substr(equals + 1));
  }
  if (const absl::Status valid = config::Validate(command); !valid.ok()) {
    return Usage(fmt::format("this command line cannot be run: {}", std::string(valid.message())),
                 "put it into a script, and run that");
  }
  return command;
}

// Whose command it is, and that it says so in one way only.
absl::Status CheckWho(const Flags& flags, const Target& target) {
  if (!flags.command_line && flags.command_id.empty()) {
    return Usage("what is to be run is missing: a command of the devices, or a command line of this machine behind --",
                 "ballast exec COMMAND-ID --coordinator ADDR, or ballast exec -- CMD…");
  }
  if (flags.command_line && !flags.command_id.empty()) {
    return Usage(fmt::format("{} names a command of the devices, and behind -- stands another one",
                             base::Quoted(flags.command_id)),
                 "give one of them");
  }
  if (flags.command_line && !target.local()) {
    return Usage(
        fmt::format("a command line behind -- runs on this machine only, but {} names a coordinator: its devices "
                    "run what their own configuration names, and nothing else",
                    target.source),
        "ballast exec COMMAND-ID (ballast devices show ID lists what a device has), or --coordinator local to run "
        "it here");
  }
  if (flags.command_line && !flags.parameters.empty()) {
    return Usage("--param fills in what the configuration of a device leaves open; a command line behind -- has it all",
                 "write it into the command line");
  }
  if (!flags.command_line && target.local() && !flags.result.dry_run) {
    return Usage(
        fmt::format("{} would be a command in the configuration of a device, but no coordinator is named, and this "
                    "machine's private worker has no commands",
                    base::Quoted(flags.command_id)),
        fmt::format("ballast exec -- {} … to run a command line here, or --coordinator ADDR", flags.command_id));
  }
  return absl::OkStatus();
}

absl::StatusOr<ExitCode> RunExec(const Flags& flags, Context& context) {
  BALLAST_ASSIGN_OR_RETURN(const Target target, FindTarget(flags.result.connection, context));
  BALLAST_RETURN_IF_ERROR(CheckWho(flags, target));
  v1::JobSpec spec;
  // Setting a field by its path puts another message in the place of this one: nothing may point into it for long.
  const auto workload = [&spec] { return spec.mutable_workload()->mutable_command(); };
  workload();
  std::optional<v1::CommandDefinition> command;
  if (flags.command_line) {
    BALLAST_ASSIGN_OR_RETURN(command, LocalCommand(*flags.command_line, context));
    workload()->set_command_id(command->command_id());
  } else {
    BALLAST_RETURN_IF_ERROR(
        SetFromFlag("COMMAND-ID", "workload.command.command_id", flags.command_id, "photo-import", &spec));
  }
  BALLAST_ASSIGN_OR_RETURN(const auto parameters, ParsePairs("--param", flags.parameters, /*list=*/false));
  for (const auto& [name, value] : parameters) (*workload()->mutable_parameters())[name] = value;
  BALLAST_RETURN_IF_ERROR(SetFromFlag("--executions", "workload.command.executions", flags.executions, "3", &spec));
  BALLAST_RETURN_IF_ERROR(
      SetFromFlag("--exec-timeout", "workload.command.timeout", flags.execution_timeout, "10m", &spec));
  BALLAST_RETURN_IF_ERROR(FillPressureBeside(
      flags.pressure, "the program",
      [](v1::JobSpec* job) { return job->mutable_workload()->mutable_command()->mutable_pressure(); }, &spec));
  BALLAST_RETURN_IF_ERROR(FillJob(flags.job, &spec));
  BALLAST_RETURN_IF_ERROR(CheckJob(spec, "exec"));
  if (command && flags.result.dry_run) {
    context.err << fmt::format(
        "note: a job names a command, and what '{}' is stands in the configuration of the worker\n",
        command->command_id());
  }
  return RunJob(std::move(spec), flags.result, context, command ? &*command : nullptr);
}

}  // namespace

void AddExecCommand(CommandTree& tree) {
  const auto flags = std::make_shared<Flags>();
  CLI::App* command = tree.Add(
      nullptr, "exec", "Run a program, under pressure when asked, and report time, memory and how it ended.",
      {"ballast exec -- python3 -c 'print(sum(range(10**7)))'",
       "ballast exec --mode staircase --step-size 100 --steps 10 --executions 3 -- ./import --batch 100",
       "ballast exec photo-import --param batch=100 --coordinator lab:7850 --on class=mini-pc",
       "ballast exec photo-import --mode burst --target 70 --exec-timeout 2m --until oom --expect OOM_KILLED", "",
       "Behind -- stands a command line of this machine: it runs here, in this directory, with these environment "
       "variables.",
       "Over a coordinator the configuration of the devices says which programs they run, and jobs only name them.",
       "The pressure stays as it is while the program runs: what the program takes comes on top of it."},
      [flags](Context& context) { return RunExec(*flags, context); });
  command->add_option("command", flags->command_id, "A command that the devices' configuration names")
      ->type_name("COMMAND-ID");
  tree.TakeCommandLine(command, &flags->command_line);
  command->add_option("--param", flags->parameters, "A value that the command leaves open; may be repeated")
      ->type_name("NAME=VALUE")
      ->group("Program")
      ->allow_extra_args(false);
  command->add_option("--executions", flags->executions, "Executions in a run, one after the other (default 1)")
      ->type_name("N")
      ->group("Program");
  command->add_option("--exec-timeout", flags->execution_timeout, "Longest time of one execution (default 10m)")
      ->type_name("TIME")
      ->group("Program");
  AddPressureFlags(command, &flags->pressure);
  AddJobFlags(command, &flags->job);
  AddSubmissionFlags(command, &flags->result);
}

}  // namespace ballast::cli

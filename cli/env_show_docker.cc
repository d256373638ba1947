// ballast env show-docker
#include <memory>

#include <fmt/format.h>

#include "cli/env.h"
#include "cli/environments.h"
#include "cli/error_text.h"
#include "cli/render/records.h"
#include "common/base/status.h"
#include "common/base/text.h"
#include "common/environment/catalogue.h"
#include "common/environment/shell_quote.h"
#include "common/os/cgroup.h"

namespace ballast::cli {
namespace {

using profiles::Shell;

struct Flags {
  std::vector<std::string> names;
  std::string file;
  std::string engine = "docker";
  std::string shell = "sh";
  std::string image{profiles::kDefaultImage};
  std::string io_device;
  std::string output;
  std::optional<std::vector<std::string>> command_line;
};

// A command line for one profile.
struct Line {
  std::string name;
  std::string command;
  std::vector<std::string> words;
  std::vector<std::string> remarks;
};

std::vector<Field<Line>> LineFields() {
  return {
      {"name", "NAME", Align::kLeft, [](const Line& line) { return line.name; }},
      {"command", "COMMAND", Align::kLeft, [](const Line& line) { return line.command; }},
  };
}

std::string JsonList(const std::vector<std::string>& texts) {
  std::string list;
  for (const std::string& text : texts) list += (list.empty() ? "" : ", ") + render::JsonString(text);
  return "[" + list + "]";
}

// There is no message for this.
std::string Json(const std::vector<Line>& lines) {
  std::string json = "{\"commands\": [";
  for (const Line& line : lines) {
    json += fmt::format("{}\n  {{\"name\": {}, \"command\": {}, \"argv\": {}, \"remarks\": {}}}",
                        &line == lines.data() ? "" : ",", render::JsonString(line.name),
                        render::JsonString(line.command), JsonList(line.words), JsonList(line.remarks));
  }
  return json + "\n]}\n";
}

absl::StatusOr<Line> LineFor(const v1::EnvironmentProfile& profile, const profiles::ContainerHost& host, Shell shell,
                             const Flags& flags) {
  Line line;
  line.name = profile.name();
  const auto limits = profiles::LimitsOf(profile, host);
  if (!limits.ok()) return WithNextStep(limits.status(), "--io-device /dev/sda");
  line.remarks = limits->remarks;
  BALLAST_ASSIGN_OR_RETURN(line.words, profiles::RunCommand(profile, host, flags.image, flags.command_line.value_or(std::vector<std::string>())));
  BALLAST_ASSIGN_OR_RETURN(line.command, profiles::QuoteCommand(shell, line.words));
  return line;
}

absl::StatusOr<ExitCode> ShowDocker(const Flags& flags, Context& context) {
  BALLAST_ASSIGN_OR_RETURN(const OutputFormat output, ParseOutputFormat(flags.output));
  profiles::ContainerHost host;
  BALLAST_ASSIGN_OR_RETURN(host.engine, EngineOfFlag(flags.engine));
  const auto shell = profiles::ParseShell(flags.shell);
  if (!shell.ok()) {
    return WithNextStep(absl::InvalidArgumentError(fmt::format("--shell: {}", std::string(shell.status().message()))),
                        "--shell sh, --shell cmd (the prompt of Windows) or --shell bat (a file for it)");
  }
  host.io_device = flags.io_device;
  // The command line is for this machine, or for a Windows machine, where containers have version 2.
  if (const auto groups = os::LocateCgroups(); groups.ok() && *shell == Shell::kSh && groups->memory_version == 1) {
    host.cgroup_version = 1;
  }

  BALLAST_ASSIGN_OR_RETURN(const v1::EnvironmentCatalogue catalogue, LoadAllEnvironments(flags.file, context));
  std::vector<Line> lines;
  for (const std::string& name : flags.names) {
    const auto profile = profiles::GetProfile(catalogue, name);
    if (!profile.ok()) return WithNextStep(profile.status(), "ballast env list");
    BALLAST_ASSIGN_OR_RETURN(lines.emplace_back(), LineFor(**profile, host, *shell, flags));
  }
  if (flags.names.empty()) {
    for (const v1::EnvironmentProfile& profile : catalogue.environments()) {
      BALLAST_ASSIGN_OR_RETURN(lines.emplace_back(), LineFor(profile, host, *shell, flags));
    }
  }

  switch (output) {
    case OutputFormat::kTable:
      // Command lines to copy: never cut to a width.
      for (const Line& line : lines) {
        if (lines.size() > 1) context.out << (*shell == Shell::kSh ? "# " : "rem ") << line.name << '\n';
        context.out << line.command << '\n';
      }
      break;
    case OutputFormat::kJson:
      context.out << Json(lines);
      break;
    case OutputFormat::kCsv:
      PrintRecords(lines, LineFields(), output, context);
      break;
  }
  for (const Line& line : lines) {
    for (const std::string& remark : line.remarks) context.err << fmt::format("note: {}: {}\n", line.name, remark);
  }
  return ExitCode::kDone;
}

}  // namespace

void AddEnvShowDockerCommand(CommandTree& tree, CLI::App* group) {
  const auto flags = std::make_shared<Flags>();
  CLI::App* command =
      tree.Add(group, "show-docker", "The command line that gives a container the limits of a profile.",
               {"ballast env show-docker", "ballast env show-docker 极限2GB模式 -- ballast simple --mode burst",
                "ballast env show-docker 4gb-swap --engine podman --image debian:12 -- sh -c 'free -m'",
                "ballast env show-docker 2gb-noswap --shell cmd"},
               [flags](Context& context) { return ShowDocker(*flags, context); });
  command->add_option("names", flags->names, "Names or aliases; all where none is given")->type_name("NAME");
  tree.TakeCommandLine(command, &flags->command_line);
  command->add_option("--engine", flags->engine, "docker or podman (default docker)")->type_name("ENGINE");
  command->add_option("--image", flags->image, fmt::format("Image (default {})", profiles::kDefaultImage))
      ->type_name("IMAGE");
  command->add_option("--shell", flags->shell, "Quoted for sh, cmd or bat (default sh)")->type_name("SHELL");
  command->add_option("--io-device", flags->io_device, "Disk that limits of its speed are for")->type_name("DEVICE");
  AddEnvironmentFileFlag(command, &flags->file);
  AddOutputFlag(command, &flags->output);
}

}  // namespace ballast::cli

// ballast env create-scripts
#include <sys/stat.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <memory>
#include <string_view>

#include <fmt/format.h>

#include "cli/env.h"
#include "cli/environments.h"
#include "cli/error_text.h"
#include "cli/render/records.h"
#include "common/base/file.h"
#include "common/base/status.h"
#include "common/base/text.h"
#include "common/environment/script.h"

namespace ballast::cli {
namespace {

constexpr char kDefaultDirectory[] = "scripts";
constexpr ::mode_t kExecutable = 0755;

struct Flags {
  std::string directory = kDefaultDirectory;
  std::string file;
  std::string io_device;
  std::string output;
};

std::vector<Field<std::filesystem::path>> PathFields() {
  return {{"path", "FILE", Align::kLeft, [](const std::filesystem::path& path) { return path.string(); }}};
}

// It is written into a script as it is.
absl::Status CheckDeviceName(const std::string& device) {
  const auto plain = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 ||
           std::string_view("/_-.").find(c) != std::string_view::npos;
  };
  if (std::ranges::all_of(device, plain)) return absl::OkStatus();
  return WithNextStep(
      absl::InvalidArgumentError(fmt::format("--io-device: {} is no name of a disk", base::Quoted(device))),
      "--io-device /dev/sda");
}

absl::StatusOr<ExitCode> CreateScripts(const Flags& flags, Context& context) {
  BALLAST_ASSIGN_OR_RETURN(const OutputFormat output, ParseOutputFormat(flags.output));
  BALLAST_ASSIGN_OR_RETURN(const v1::EnvironmentCatalogue catalogue, LoadAllEnvironments(flags.file, context));
  if (const absl::Status device = CheckDeviceName(flags.io_device); !device.ok()) return device;
  const auto scripts = profiles::AllScripts(catalogue, flags.io_device);
  if (!scripts.ok()) {
    return WithNextStep(scripts.status(), "give that profile a name that a file for cmd.exe can hold");
  }
  const std::filesystem::path directory = flags.directory;
  const auto unwritable = [&](const absl::Status& status) {
    // What could not be written is neither a job that is not there nor a coordinator out of reach.
    return WithNextStep(
        absl::InternalError(std::string(status.message())),
        fmt::format("make room in {}, make it writable, or give another --output-dir", directory.string()));
  };
  if (const absl::Status made = base::EnsureWritableDirectory(directory); !made.ok()) return unwritable(made);
  std::vector<std::filesystem::path> written;
  for (const profiles::ScriptFile& script : *scripts) {
    const std::filesystem::path path = directory / script.name;
    if (const absl::Status status = base::WriteFileAtomically(path, script.content); !status.ok()) {
      return unwritable(status);
    }
    if (script.executable && ::chmod(path.c_str(), kExecutable) != 0) {
      return unwritable(base::ErrnoStatus(errno, fmt::format("make {} executable", path.string())));
    }
    written.push_back(path);
  }
  switch (output) {
    case OutputFormat::kTable:
      for (const std::filesystem::path& path : written) context.out << path.string() << '\n';
      break;
    case OutputFormat::kJson: {
      std::string list;
      for (const auto& path : written) list += (list.empty() ? "" : ", ") + render::JsonString(path.string());
      context.out << fmt::format("{{\"files\": [{}]}}\n", list);
      break;
    }
    case OutputFormat::kCsv:
      PrintRecords(written, PathFields(), output, context);
      break;
  }
  return ExitCode::kDone;
}

}  // namespace

void AddEnvCreateScriptsCommand(CommandTree& tree, CLI::App* group) {
  const auto flags = std::make_shared<Flags>();
  CLI::App* command = tree.Add(
      group, "create-scripts", "Write scripts that run a memory test in an environment, for sh and for Windows.",
      {"ballast env create-scripts", "ballast env create-scripts --output-dir out",
       "scripts/run_memory_env_test.sh --environment 极限2GB模式 --mode staircase --duration 60",
       "scripts\\run_memory_env_test.bat --environment 极限2GB模式 --mode burst --target 70", "",
       "One pair of scripts takes any environment, one pair for each profile has it already. The .sh runs ballast "
       "simple, "
       "the .bat the same in docker."},
      [flags](Context& context) { return CreateScripts(*flags, context); });
  command
      ->add_option("--output-dir", flags->directory, fmt::format("Where to write them (default {})", kDefaultDirectory))
      ->type_name("DIR");
  command
      ->add_option("--io-device", flags->io_device,
                   "Disk that limits of its speed are for in the .bat; else BALLAST_IO_DEVICE names it when it runs")
      ->type_name("DEVICE");
  AddEnvironmentFileFlag(command, &flags->file);
  AddOutputFlag(command, &flags->output);
}

}  // namespace ballast::cli

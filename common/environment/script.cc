#include "common/environment/script.h"

#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "common/base/status.h"
#include "common/config/yaml.h"
#include "common/environment/shell_quote.h"

namespace ballast::profiles {
namespace {

// A word for sh; profile names have no byte that could not be written.
std::string ShWord(std::string_view word) {
  return QuoteWord(Shell::kSh, word).value_or("");
}

bool IsAscii(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

// What stands for the profile in names of files.
std::string FileStem(const v1::EnvironmentProfile& profile) {
  const auto alias = std::ranges::find_if(profile.aliases(), IsAscii);
  return fmt::format("test_{}", alias == profile.aliases().end() ? profile.name() : *alias);
}

constexpr std::string_view kShellArguments = R"sh(
count=$#
while [ "$count" -gt 0 ]; do
  argument=$1
  shift
  count=$((count - 1))
  case $argument in
    --environment | --env)
      if [ "$count" -eq 0 ]; then
        echo "error: $argument needs a name" >&2
        exit 2
      fi
      environment=$1
      shift
      count=$((count - 1))
      ;;
    --environment=* | --env=*) environment=${argument#*=} ;;
    -h | --help)
      sed -n '2,/^$/s/^# \{0,1\}//p' "$0"
      exit 0
      ;;
    *) set -- "$@" "$argument" ;;
  esac
done
)sh";

constexpr std::string_view kShellRun = R"sh(
if ! command -v "${BALLAST:=ballast}" >/dev/null; then
  echo "error: there is no program $BALLAST" >&2
  echo "  try: install ballast, or set BALLAST to its path" >&2
  exit 127
fi
# The profiles go along, so that this file is all that is needed.
exec "$BALLAST" simple --env-file /dev/stdin --env "$environment" "$@" <<'END_OF_PROFILES'
)sh";

}  // namespace

std::string ShellScript(const v1::EnvironmentCatalogue& catalogue, std::string_view default_name) {
  std::string script = "#!/bin/sh\n";
  script += fmt::format("# Puts memory under pressure in {}.\n",
                        default_name.empty() ? "an environment that behaves as a smaller machine"
                                             : fmt::format("the environment {}", default_name));
  script += "#\n# --environment NAME  another one:\n";
  for (const v1::EnvironmentProfile& profile : catalogue.environments()) {
    script += fmt::format("#   {}\n", profile.aliases().empty()
                                          ? profile.name()
                                          : fmt::format("{} ({})", profile.name(), fmt::join(profile.aliases(), ", ")));
  }
  script +=
      "# Everything else goes to `ballast simple`: --mode staircase --duration 60, --mode burst --target 70, "
      "--save-report, …\n"
      "# BALLAST is the path of the program where it is not on PATH.\n\nset -eu\n";
  script += fmt::format("environment={}\n", default_name.empty() ? "''" : ShWord(default_name));
  script += kShellArguments;
  if (default_name.empty()) {
    script +=
        "if [ -z \"$environment\" ]; then\n"
        "  echo \"error: --environment is missing\" >&2\n"
        "  echo \"  try: $0 --help\" >&2\n"
        "  exit 2\n"
        "fi\n";
  }
  script += kShellRun;
  // No profile can end it: a line of YAML that stands alone at the left end is a key.
  script += config::WriteYaml(catalogue);
  script += "END_OF_PROFILES\n";
  return script;
}

absl::StatusOr<std::vector<ScriptFile>> AllScripts(const v1::EnvironmentCatalogue& catalogue,
                                                   std::string_view io_device) {
  std::vector<ScriptFile> files;
  const auto add = [&](const std::string& stem, std::string_view default_name) -> absl::Status {
    BALLAST_ASSIGN_OR_RETURN(std::string batch, BatchScript(catalogue, default_name, io_device));
    files.push_back({stem + ".sh", ShellScript(catalogue, default_name), /*executable=*/true});
    files.push_back({stem + ".bat", std::move(batch), /*executable=*/false});
    return absl::OkStatus();
  };
  BALLAST_RETURN_IF_ERROR(add(std::string(kGeneralScriptName), ""));
  for (const v1::EnvironmentProfile& profile : catalogue.environments()) {
    BALLAST_RETURN_IF_ERROR(add(FileStem(profile), profile.name()));
  }
  return files;
}

}  // namespace ballast::profiles

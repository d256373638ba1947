#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "common/base/status.h"
#include "common/environment/catalogue.h"
#include "common/environment/container.h"
#include "common/environment/script.h"
#include "common/environment/shell_quote.h"

namespace ballast::profiles {
namespace {

// Up to the code page everything is ASCII: what comes before is read in the console's own.
constexpr std::string_view kBeginning = R"bat(@echo off
rem Puts memory under pressure in a container that behaves as a smaller machine.
rem --help says how.
setlocal EnableExtensions DisableDelayedExpansion
for /f "tokens=2 delims=:." %%A in ('chcp') do set "CODEPAGE=%%A"
chcp 65001 >nul
if not defined BALLAST_IMAGE set "BALLAST_IMAGE=)bat";

// cmd.exe divides what it calls %1, %2, … at each blank, = , and ;. That finds the name of the environment, also behind
// --environment=, but no other argument may be taken from there.
constexpr std::string_view kArguments = R"bat(
:next
if [%1]==[] goto ready
if "%~1"=="--environment" goto environment
if "%~1"=="--env" goto environment
if "%~1"=="--help" goto help
if "%~1"=="-h" goto help
shift
goto next
:environment
if [%2]==[] goto missing
set "ENVIRONMENT=%~2"
shift
shift
goto next
)bat";

// All arguments, as they were written, go into the container, whose own shell leaves the environment out. No character
// in it may mean anything to cmd.exe, where it stands between two quotes; so the shell divides no words (IFS) and knows
// no patterns (-f) instead.
constexpr std::string_view kInContainer =
    "sh -fc \"IFS=; for a do shift; case $a in --environment | --env) skip=1 ;; --environment=* | --env=*) ;; "
    "*) [ $skip ] || set -- $@ $a; skip= ;; esac; done; exec ballast simple $@\" sh %*";

// Stands for the device in the flags until the script has it.
constexpr std::string_view kDeviceMark = "BALLAST-IO-DEVICE";

constexpr std::string_view kRun = R"bat(
if not defined LIMITS goto unknown
where docker >nul 2>nul
if errorlevel 1 goto nodocker
docker run --rm %LIMITS% --volume "%CD%\logs:/srv/logs" %BALLAST_IMAGE% {}
set "RESULT=%ERRORLEVEL%"
goto end
)bat";

constexpr std::string_view kEnd = R"bat(
:missing
>&2 echo error: --environment is missing or has no name
>&2 echo   try: %~nx0 --help
set "RESULT=2"
goto end
:unknown
if "%ENVIRONMENT%"=="" goto missing
>&2 echo error: there is no environment "%ENVIRONMENT%"
>&2 echo   try: %~nx0 --help
set "RESULT=4"
goto end
:nodevice
>&2 echo error: "%ENVIRONMENT%" limits the speed of a disk, and docker has to be told which
>&2 echo   try: set BALLAST_IO_DEVICE=/dev/sda
set "RESULT=2"
goto end
:nodocker
>&2 echo error: there is no program docker
>&2 echo   try: install Docker Desktop, and start it
set "RESULT=127"
goto end
:end
if defined CODEPAGE chcp %CODEPAGE% >nul
exit /b %RESULT%
)bat";

// `if /i "%ENVIRONMENT%"=="NAME" …`, for the name and each alias.
void AddBranches(const v1::EnvironmentProfile& profile, const std::string& action, std::string* script) {
  std::vector<std::string> names = {profile.name()};
  names.insert(names.end(), profile.aliases().begin(), profile.aliases().end());
  for (const std::string& name : names) *script += fmt::format("if /i \"%ENVIRONMENT%\"==\"{}\" {}\n", name, action);
}

std::string WithCarriageReturns(std::string_view text) {
  std::string result;
  for (const char c : text) {
    if (c == '\n') result += '\r';
    result += c;
  }
  return result;
}

}  // namespace

absl::StatusOr<std::string> BatchScript(const v1::EnvironmentCatalogue& catalogue, std::string_view default_name,
                                        std::string_view io_device) {
  const ContainerHost host{.engine = Engine::kDocker, .cgroup_version = 2, .io_device = std::string(kDeviceMark)};
  std::string script = fmt::format("{}{}\"\nset \"ENVIRONMENT={}\"\n", kBeginning, kDefaultImage, default_name);
  if (!io_device.empty()) {
    script += fmt::format("if not defined BALLAST_IO_DEVICE set \"BALLAST_IO_DEVICE={}\"\n", io_device);
  }
  script += kArguments.substr(1);
  script += ":ready\nset \"LIMITS=\"\n";
  std::string help = ":help\necho %~nx0 [--environment NAME] [the flags of ballast simple]\necho.\n";
  for (const v1::EnvironmentProfile& profile : catalogue.environments()) {
    BALLAST_ASSIGN_OR_RETURN(const ContainerLimits limits, LimitsOf(profile, host));
    for (const std::string& remark : limits.remarks) script += fmt::format("rem {}: {}\n", profile.name(), remark);
    BALLAST_ASSIGN_OR_RETURN(std::string flags, QuoteCommand(Shell::kBatch, limits.flags));
    const bool needs_device = flags.find(kDeviceMark) != std::string::npos;
    for (std::size_t at = flags.find(kDeviceMark); at != std::string::npos; at = flags.find(kDeviceMark)) {
      flags.replace(at, kDeviceMark.size(), "%BALLAST_IO_DEVICE%");
    }
    if (needs_device) AddBranches(profile, "if not defined BALLAST_IO_DEVICE goto nodevice", &script);
    AddBranches(profile, fmt::format("set \"LIMITS={}\"", flags), &script);
    // In quotes, where nothing in a name means anything.
    help += fmt::format("echo   \"{}\"", profile.name());
    for (const std::string& alias : profile.aliases()) help += fmt::format(" \"{}\"", alias);
    help += '\n';
  }
  help +=
      "echo.\n"
      "echo for instance --mode staircase --duration 60, --mode burst --target 70, --save-report\n"
      "echo Reports come into logs\\memory_tests. BALLAST_IMAGE names the image,\n"
      "echo BALLAST_IO_DEVICE the disk that limits of its speed are for.\n"
      "set \"RESULT=0\"\ngoto end";
  script += fmt::format(fmt::runtime(kRun.substr(1)), kInContainer) + help + std::string(kEnd);
  return WithCarriageReturns(script);
}

}  // namespace ballast::profiles

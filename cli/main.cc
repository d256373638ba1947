// The program `ballast`: wires the command line to this process.
#include <poll.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <iostream>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "cli/commands.h"
#include "common/base/shutdown_signal.h"

int main(int argc, char** argv) {
  using ballast::cli::ExitCode;
  // A reader that goes away (`| head`) is seen as a failed write, so that children still end in order.
  std::signal(SIGPIPE, SIG_IGN);
  const auto signal = ballast::base::ShutdownSignal::Create();
  if (!signal.ok()) {
    std::cerr << fmt::format("error: {}\n", std::string(signal.status().message()));
    return static_cast<int>(ExitCode::kEndedOtherwise);
  }
  ballast::cli::Interrupts interrupts(&*signal);
  std::error_code error;
  ballast::cli::Context context{
      .out = std::cout,
      .err = std::cerr,
      .interrupts = interrupts,
      .clock = ballast::base::RealClock(),
      .terminal = ballast::cli::DetectTerminal(ballast::cli::ProcessVariable),
      .variable = ballast::cli::ProcessVariable,
      .program_directory = std::filesystem::read_symlink("/proc/self/exe", error).parent_path()};
  ExitCode code = ballast::cli::RunCommandLine(std::vector<std::string>(argv + 1, argv + argc), context);
  std::cout.flush();
  pollfd reader{STDOUT_FILENO, 0, 0};
  const bool reader_gone = ::poll(&reader, 1, 0) == 1 && (reader.revents & POLLERR) != 0;
  if (!std::cout.good() && code == ExitCode::kDone && !reader_gone) {
    std::cerr << "error: standard output could not be written completely\n  try: free space where it goes\n";
    code = ExitCode::kEndedOtherwise;
  }
  return static_cast<int>(code);
}

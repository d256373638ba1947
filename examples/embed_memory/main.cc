// A program that embeds Ballast: it watches its memory, has something to drop when memory is short, runs a small
// pressure test in a child, and prints what it knows.
//
//   embed_memory [--profile NAME] [--model ID] [--report FILE]
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "ballast/memory_manager.h"

namespace {

// What a program keeps only to be faster.
class Thumbnails {
 public:
  Thumbnails() : bytes_(16 << 20, 'x') {}
  std::uint64_t Drop() {
    const std::uint64_t freed = bytes_.capacity();
    std::vector<char>().swap(bytes_);
    return freed;
  }

 private:
  std::vector<char> bytes_;
};

int Fail(const absl::Status& status) {
  std::cerr << "error: " << std::string(status.message()) << "\n";
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  std::map<std::string, std::string> flags;
  for (int i = 1; i + 1 < argc; i += 2) flags[argv[i]] = argv[i + 1];

  // The manager of this process, with the smaller machine that its tests run in.
  ballast::MemoryManagerOptions options;
  options.environment_profile = flags["--profile"];
  options.model_id = flags["--model"];
  options.guard.sample_interval = std::chrono::milliseconds(100);
  const auto instance = ballast::MemoryManager::Instance(options);
  if (!instance.ok()) return Fail(instance.status());
  ballast::MemoryManager& manager = **instance;

  // What is done when memory is short.
  Thumbnails thumbnails;
  const ballast::Droppable droppable =
      manager.guard().AddDroppable("thumbnails", 0, [&thumbnails] { return thumbnails.Drop(); });
  manager.guard().OnWarning([](const ballast::v1::GuardAct&, const ballast::v1::MemoryReading& reading) {
    std::cerr << "memory gets short: " << reading.used_percent() << " % in use\n";
  });
  if (const absl::Status status = manager.StartMonitoring(); !status.ok()) return Fail(status);

  // A small staircase above what is in use now. It is held in a child: whatever happens to that, this program goes on.
  const auto now = manager.guard().Read();
  if (!now.ok()) return Fail(now.status());
  ballast::ControlledTest small;
  small.test_mode = "staircase";
  small.target_percent = options.environment_profile.empty() ? now->used_percent() + 1 : 5;
  small.burst_duration = std::chrono::seconds(2);
  const auto test = manager.RunControlledPressureTest(small, [](const ballast::v1::RunProgress& progress) {
    std::cerr << "held " << (progress.held_bytes() >> 20) << " MiB\n";
  });
  if (!test.ok()) return Fail(test.status());
  const ballast::v1::Outcome& outcome = test->attempt().result().outcome();
  std::cout << "test: " << ballast::v1::OutcomeKind_Name(outcome.kind()) << ": " << outcome.message() << "\n";

  const ballast::v1::OptimiseResult optimised = manager.guard().Optimise();
  std::cout << "optimised: " << optimised.freed_bytes() << " bytes freed\n";

  const auto report = manager.GenerateMemoryReport();
  if (!report.ok()) return Fail(report.status());
  std::cout << "trend: " << ballast::v1::MemoryReport::Trend_Name(report->trend()) << "\n"
            << "quantization.current_optimal: " << report->quantization().current_optimal() << "\n"
            << "environment.profile_name: " << report->environment().profile_name() << "\n";
  if (!flags["--report"].empty()) std::ofstream(flags["--report"]) << ballast::ToJson(*report) << "\n";

  manager.StopMonitoring();
  return 0;
}

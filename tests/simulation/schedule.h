// One random history of a fleet: users, faults, and what must hold.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tests/simulation/ledger.h"
#include "tests/simulation/network.h"
#include "tests/simulation/random.h"
#include "tests/simulation/simulated_coordinator.h"
#include "tests/simulation/simulated_device.h"
#include "tests/simulation/timeline.h"

namespace ballast::simulation {

// What can go wrong.
enum class Fault : std::uint8_t {
  kCoordinatorCrash,
  kCoordinatorPowerCut,
  kCoordinatorStopped,
  kWorkerCrash,
  kCrashInWrite,
  kReboot,
  kGoneForEver,
  kDiskReplaced,
  kPartitionUp,
  kPartitionDown,
  kPartition,
  kDelay,
  kDuplicate,
  kReorder,
  kCoordinatorDiskFull,
  kWorkerDiskFull,
  kSlowCommit,
  kStall,
  kCoordinatorClock,
  kWorkerClock,
  kRunnerOom,
  kCount,
};
[[nodiscard]] std::string_view NameOf(Fault fault);

// What schedules amount to.
struct Figures {
  std::uint64_t schedules = 0;
  std::uint64_t steps = 0;
  std::uint64_t runs = 0;
  std::uint64_t virtual_seconds = 0;
  std::array<std::uint64_t, static_cast<std::size_t>(Fault::kCount)> faults{};

  void Add(const Figures& other);
};

// The same seed plays the same history. Use it once. Not thread-safe.
class Schedule {
 public:
  // `trace`: everything that happens goes to standard output.
  Schedule(std::uint64_t seed, bool trace);

  // What went wrong; empty where nothing did.
  std::string Play();
  [[nodiscard]] const Figures& figures() const { return figures_; }

 private:
  void Trace(const std::string& what) const;
  void PlanFaults();
  // Returns whether it changed anything.
  bool Inject(Fault fault, std::size_t index);
  void PlanUsers();
  void Submit();
  void Heal();
  // Until nothing moves any more.
  void PlayToTheEnd();
  [[nodiscard]] bool Quiet() const;
  SimulatedDevice& AnyDevice() { return *devices_[random_.Below(devices_.size())]; }
  void Count(Fault fault) { ++figures_.faults[static_cast<std::size_t>(fault)]; }

  const bool trace_;
  Random random_;
  Timeline timeline_;
  Ledger ledger_;
  Network network_;
  SimulatedCoordinator coordinator_;
  std::vector<std::unique_ptr<SimulatedDevice>> devices_;
  Figures figures_;
  nanoseconds faults_end_{};
  bool healed_ = false;
  // Of partitions and the like on each device: what ends is what began last.
  std::map<std::pair<Fault, std::size_t>, std::uint64_t> epochs_;
  std::size_t gone_;  // the device that does not come back; none where it is out of range
  int next_job_ = 1;
};

}  // namespace ballast::simulation

#include "tests/simulation/schedule.h"

#include <algorithm>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "common/base/clock.h"
#include "coordinator/core/run_transitions.h"

namespace ballast::simulation {
namespace {

struct FaultKind {
  Fault fault;
  std::string_view name;
  std::uint64_t weight;
};
constexpr FaultKind kFaults[] = {
    {Fault::kCoordinatorCrash, "coordinator crash", 6},
    {Fault::kCoordinatorPowerCut, "coordinator power cut", 3},
    {Fault::kCoordinatorStopped, "coordinator stopped", 4},
    {Fault::kWorkerCrash, "worker crash", 6},
    {Fault::kCrashInWrite, "crash in a write", 8},  // counted as they happen
    {Fault::kReboot, "device reboot", 8},
    {Fault::kGoneForEver, "device gone for ever", 1},
    {Fault::kDiskReplaced, "disk replaced", 1},
    {Fault::kPartitionUp, "partition to the coordinator", 6},
    {Fault::kPartitionDown, "partition to the device", 6},
    {Fault::kPartition, "partition", 8},
    {Fault::kDelay, "delay", 6},
    {Fault::kDuplicate, "duplicate", 0},  // counted as they happen
    {Fault::kReorder, "reorder across connections", 0},
    {Fault::kCoordinatorDiskFull, "coordinator disk full", 4},
    {Fault::kWorkerDiskFull, "worker disk full", 5},
    {Fault::kSlowCommit, "slow commits", 4},
    {Fault::kStall, "worker stalled", 4},
    {Fault::kCoordinatorClock, "coordinator clock set", 2},
    {Fault::kWorkerClock, "device clock set", 3},
    {Fault::kRunnerOom, "runner OOM", 4},
};

// The longest lease of a job here, and the longest that a device may take to be found dead.
constexpr seconds kLongestLease(300);
// All of what docs/protocol.md adds up, for every run of one device.
constexpr minutes kBound(40);
constexpr milliseconds kUsualCommit(8);

}  // namespace

std::string_view NameOf(Fault fault) {
  return std::ranges::find(kFaults, fault, &FaultKind::fault)->name;
}

void Figures::Add(const Figures& other) {
  schedules += other.schedules;
  steps += other.steps;
  runs += other.runs;
  virtual_seconds += other.virtual_seconds;
  for (std::size_t i = 0; i < faults.size(); ++i) faults[i] += other.faults[i];
}

Schedule::Schedule(std::uint64_t seed, bool trace)
    : trace_(trace),
      random_(seed),
      timeline_(&random_),
      ledger_(&timeline_),
      network_(&timeline_, &random_),
      coordinator_(&timeline_, &random_, &network_, &ledger_) {
  const std::uint64_t device_count = 1 + random_.Below(3);
  gone_ = device_count;
  for (std::size_t i = 0; i < device_count; ++i) {
    devices_.push_back(std::make_unique<SimulatedDevice>(i, &timeline_, &random_, &network_, &ledger_));
    devices_.back()->coordinator_wall = [this] { return coordinator_.wall(); };
    devices_.back()->on_crash_in_write = [this] { Count(Fault::kCrashInWrite); };
    if (trace_) devices_.back()->trace = [this](const std::string& what) { Trace(what); };
  }
  if (trace_) coordinator_.trace = [this](const std::string& what) { Trace(what); };
  ledger_.held_by = [this](const std::string& device_id) {
    for (const auto& device : devices_) {
      if (device->id() == device_id) return device->Held();
    }
    return std::set<AttemptKey>();
  };
  network_.SetEnds({
      .on_up =
          [this](const ConnectionPointer& connection, v1::WorkerMessage message) {
            if (trace_ && !message.has_heartbeat()) {
              Trace(fmt::format("coordinator hears connection {}: {}", connection->number, message.ShortDebugString()));
            }
            coordinator_.OnUp(connection, std::move(message));
          },
      .on_up_end = [this](const ConnectionPointer& connection) { coordinator_.OnUpEnd(connection); },
      .on_down =
          [this](const ConnectionPointer& connection, const v1::CoordinatorMessage& message) {
            devices_[connection->device]->OnDown(connection, message);
          },
      .on_down_end = [this](
                         const ConnectionPointer& connection,
                         const absl::Status& status) { devices_[connection->device]->OnDownEnd(connection, status); },
      .coordinator_reads = [this](const Connection& connection) { return coordinator_.Reads(connection); },
      .worker_reads = [this](const Connection& connection) { return devices_[connection.device]->Reads(); },
  });
}

void Schedule::Trace(const std::string& what) const {
  fmt::print("{:12.6f}  {}\n", base::ToSeconds(timeline_.now()), what);
}

std::string Schedule::Play() {
  const seconds longest = random_.OneIn(64) ? seconds(900) : random_.OneIn(8) ? seconds(400) : seconds(70);
  faults_end_ = timeline_.now() + random_.Between(seconds(15), longest);
  network_.SetDuplicates(random_.OneIn(2));
  coordinator_.Start();
  PlanUsers();
  PlanFaults();
  while (timeline_.now() < faults_end_ && ledger_.problem().empty() && timeline_.Step()) {
  }
  if (ledger_.problem().empty()) PlayToTheEnd();
  figures_.schedules = 1;
  figures_.steps = timeline_.steps();
  figures_.runs = ledger_.runs().size();
  figures_.virtual_seconds = static_cast<std::uint64_t>(base::ToSeconds(timeline_.now() - seconds(1000)));
  figures_.faults[static_cast<std::size_t>(Fault::kDuplicate)] = network_.duplicates();
  figures_.faults[static_cast<std::size_t>(Fault::kReorder)] = network_.late_words();
  return ledger_.problem();
}

void Schedule::PlanUsers() {
  const std::uint64_t jobs = 1 + random_.Below(3);
  for (std::uint64_t i = 0; i < jobs; ++i)
    timeline_.After(random_.Between(milliseconds(500), (faults_end_ - timeline_.now()) * 2 / 3), [this] { Submit(); });
  const std::uint64_t others = random_.Below(4);
  for (std::uint64_t i = 0; i < others; ++i) {
    timeline_.After(random_.Between(seconds(1), faults_end_ - timeline_.now()), [this] {
      if (healed_) return;
      const std::uint64_t choice = random_.Below(6);
      if (choice >= 4) {
        const std::string device_id = AnyDevice().id();
        if (trace_) Trace("a user reserves " + device_id);
        coordinator_.Reserve(device_id, random_.OneIn(2) ? "ada" : "bob", random_.Between(seconds(5), seconds(90)));
      } else if (choice == 0) {
        coordinator_.SetDrained(AnyDevice().id(), random_.OneIn(2));
      } else if (next_job_ > 1) {
        const std::string job_id = fmt::format("j-{}", 1 + random_.Below(static_cast<std::uint64_t>(next_job_ - 1)));
        if (trace_) Trace("a user cancels " + job_id);
        coordinator_.Cancel(job_id);
      }
    });
  }
}

void Schedule::Submit() {
  v1::JobSpec spec;
  spec.mutable_workload()->mutable_pressure()->mutable_burst();
  spec.set_repetitions(1 + static_cast<std::uint32_t>(random_.Below(2)));
  spec.set_priority(static_cast<std::int32_t>(random_.Below(3)));
  spec.mutable_policy()->set_max_attempts(1 + static_cast<std::uint32_t>(random_.Below(3)));
  constexpr seconds kLeases[] = {seconds(20), seconds(60), kLongestLease};
  *spec.mutable_policy()->mutable_lost_after() = base::ToProto(kLeases[random_.Below(3)]);
  if (random_.OneIn(2)) *spec.mutable_policy()->mutable_timeout() = base::ToProto(seconds(15));
  switch (random_.Below(4)) {
    case 0:
      spec.mutable_devices()->set_all(true);
      break;
    case 1:
    case 2:
      spec.mutable_devices()->set_count(1 + static_cast<std::uint32_t>(random_.Below(devices_.size())));
      break;
    default:
      spec.mutable_devices()->add_device_ids(AnyDevice().id());
  }
  if (random_.OneIn(3)) spec.set_max_parallel_runs(1);
  const std::string job_id = fmt::format("j-{}", next_job_++);
  if (trace_) Trace(fmt::format("a user submits {}: {}", job_id, spec.ShortDebugString()));
  coordinator_.Submit({job_id, std::move(spec), "", random_.OneIn(2) ? "ada" : "bob"});
}

void Schedule::PlanFaults() {
  std::uint64_t weights = 0;
  for (const FaultKind& kind : kFaults) weights += kind.weight;
  const nanoseconds pause = random_.Between(seconds(1), seconds(12));
  for (nanoseconds time = timeline_.now() + random_.Between(seconds(0), pause * 2); time < faults_end_;
       time += random_.Between(seconds(0), pause * 2)) {
    std::uint64_t choice = random_.Below(weights);
    for (const FaultKind& kind : kFaults) {
      if (choice < kind.weight) {
        timeline_.At(time, [this, fault = kind.fault] {
          if (healed_) return;
          const std::size_t index = random_.Below(devices_.size());
          if (Inject(fault, index) && fault != Fault::kCrashInWrite) Count(fault);
        });
        break;
      }
      choice -= kind.weight;
    }
  }
}

bool Schedule::Inject(Fault fault, std::size_t index) {
  SimulatedDevice& device = *devices_[index];
  if (index == gone_) return false;
  const auto tell = [&](std::string_view whose) {
    if (trace_) Trace(fmt::format("FAULT {}{}", NameOf(fault), whose));
  };
  const std::string of_device = fmt::format(" ({})", device.id());
  // What ends by itself, unless everything was healed before, or the same was begun again meanwhile.
  const auto for_a_while = [this](std::pair<Fault, std::size_t> what, nanoseconds time, std::function<void()> end) {
    timeline_.After(time, [this, what, epoch = ++epochs_[what], end = std::move(end)] {
      if (healed_ || epochs_[what] != epoch) return;
      if (trace_) Trace(fmt::format("over: {} ({})", NameOf(what.first), what.second));
      end();
    });
  };
  switch (fault) {
    case Fault::kCoordinatorCrash:
    case Fault::kCoordinatorPowerCut:
      if (!coordinator_.running()) return false;
      tell("");
      coordinator_.Crash(fault == Fault::kCoordinatorPowerCut);
      for_a_while({Fault::kCoordinatorCrash, 0}, random_.Between(milliseconds(100), seconds(30)), [this] {
        if (!coordinator_.running()) coordinator_.Start();
      });
      return true;
    case Fault::kCoordinatorStopped:
      if (!coordinator_.running()) return false;
      tell("");
      coordinator_.Stop(random_.Between(milliseconds(500), random_.OneIn(3) ? seconds(90) : seconds(10)));
      return true;
    case Fault::kWorkerCrash:
      if (!device.alive()) return false;
      tell(of_device);
      device.CrashWorker(random_.Between(milliseconds(10), seconds(10)));
      return true;
    case Fault::kCrashInWrite:
      tell(of_device + ", soon");
      device.disk().StopAfter(1 + random_.Below(8));
      return true;
    case Fault::kReboot:
      if (!device.alive()) return false;
      tell(of_device);
      device.CutPower(random_.Between(seconds(3), random_.OneIn(4) ? seconds(90) : seconds(20)));
      return true;
    case Fault::kGoneForEver:
      if (gone_ < devices_.size()) return false;
      tell(of_device);
      gone_ = index;
      device.CutPower(std::nullopt);
      return true;
    case Fault::kDiskReplaced:
      tell(of_device);
      device.ReplaceDisk(random_.Between(seconds(3), seconds(20)));
      return true;
    case Fault::kPartitionUp:
    case Fault::kPartitionDown:
    case Fault::kPartition:
      tell(of_device);
      network_.SetBlocked(index, fault != Fault::kPartitionDown, fault != Fault::kPartitionUp);
      for_a_while({Fault::kPartition, index},
                  random_.Between(milliseconds(100), random_.OneIn(12)  ? seconds(600)
                                                     : random_.OneIn(3) ? seconds(120)
                                                                        : seconds(15)),
                  [this, index] { network_.SetBlocked(index, false, false); });
      return true;
    case Fault::kDelay:
      tell(of_device);
      network_.SetLag(index, random_.Between(milliseconds(50), seconds(6)));
      for_a_while({fault, index}, random_.Between(seconds(1), seconds(30)),
                  [this, index] { network_.SetLag(index, nanoseconds(0)); });
      return true;
    case Fault::kCoordinatorDiskFull:
      tell("");
      coordinator_.SetDiskFull(true);
      for_a_while({fault, 0}, random_.Between(milliseconds(100), seconds(30)),
                  [this] { coordinator_.SetDiskFull(false); });
      return true;
    case Fault::kWorkerDiskFull:
      tell(of_device);
      device.disk().SetFull(true);
      for_a_while({fault, index}, random_.Between(milliseconds(100), random_.OneIn(3) ? seconds(90) : seconds(20)),
                  [&device] { device.disk().SetFull(false); });
      return true;
    case Fault::kSlowCommit:
      tell("");
      coordinator_.SetCommitTime(random_.Between(milliseconds(100), random_.OneIn(4) ? seconds(60) : seconds(5)));
      for_a_while({fault, 0}, random_.Between(seconds(1), seconds(30)),
                  [this] { coordinator_.SetCommitTime(kUsualCommit); });
      return true;
    case Fault::kStall:
      if (!device.alive()) return false;
      tell(of_device);
      device.Stall(random_.Between(seconds(1), random_.OneIn(4) ? seconds(60) : seconds(15)));
      return true;
    case Fault::kCoordinatorClock:
      tell("");
      coordinator_.SetClock(random_.Between(-hours(2), hours(2)));
      return true;
    case Fault::kWorkerClock:
      tell(of_device);
      device.SetClock(random_.Between(-hours(2), hours(2)));
      return true;
    case Fault::kRunnerOom:
      if (!device.has_runner()) return false;
      tell(of_device);
      device.KillRunner();
      return true;
    case Fault::kDuplicate:
    case Fault::kReorder:
    case Fault::kCount:
      break;
  }
  return false;
}

void Schedule::Heal() {
  healed_ = true;
  if (trace_) Trace("the faults end");
  network_.SetDuplicates(false);
  coordinator_.SetDiskFull(false);
  coordinator_.SetCommitTime(kUsualCommit);
  if (!coordinator_.running()) coordinator_.Start();
  for (std::size_t i = 0; i < devices_.size(); ++i) {
    devices_[i]->disk().StopAfter(0);
    devices_[i]->disk().SetFull(false);
    network_.SetLag(i, nanoseconds(0));
    network_.SetBlocked(i, false, false);
  }
}

bool Schedule::Quiet() const {
  if (!ledger_.AllEnded() || !coordinator_.idle()) return false;
  for (std::size_t i = 0; i < devices_.size(); ++i) {
    if (i != gone_ && !devices_[i]->idle()) return false;
  }
  return true;
}

void Schedule::PlayToTheEnd() {
  Heal();
  // A coordinator that could not serve, or was stopped, when the faults ended takes this again.
  for (const seconds time : {seconds(12), seconds(40), seconds(120)}) {
    timeline_.After(time, [this] {
      for (const auto& device : devices_) coordinator_.SetDrained(device->id(), false);
      coordinator_.EndReservations();
    });
  }
  const nanoseconds end = timeline_.now() + kBound;
  if (gone_ < devices_.size()) {
    // A run on a device that stays away is lost when its lease ends; what still waits for the device is up to users.
    timeline_.After(kLongestLease + minutes(2), [this] {
      for (const auto& [run_id, run] : ledger_.runs()) {
        if (run.device_id() == devices_[gone_]->id() && core::IsActive(run))
          ledger_.Fail(run_id + " is left to a device that does not come back, long after its lease");
      }
      for (const auto& [job_id, job] : ledger_.jobs()) {
        if (job.state() == v1::Job::QUEUED || job.state() == v1::Job::RUNNING) coordinator_.Cancel(job_id);
      }
    });
  }
  std::uint64_t steps_until_look = 0;
  while (ledger_.problem().empty() && timeline_.now() < end) {
    if (steps_until_look-- == 0) {
      steps_until_look = 16;
      if (timeline_.now() > faults_end_ + seconds(1) && Quiet()) break;
    }
    if (!timeline_.Step()) break;
  }
  if (!ledger_.problem().empty()) return;
  if (!Quiet()) {
    std::string waits;
    for (const auto& [run_id, run] : ledger_.runs()) {
      if (!core::IsEnded(run)) waits += fmt::format(" {} ({})", run_id, v1::Run::State_Name(run.state()));
    }
    for (const auto& device : devices_) {
      if (!device->idle()) waits += " " + device->id();
    }
    ledger_.Fail("not everything ended within the bound after the last fault:" + waits);
    return;
  }
  ledger_.CheckEnd();
}

}  // namespace ballast::simulation

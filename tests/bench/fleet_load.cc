// The load generator: a fleet of workers that speak the real protocol over real sessions. It does what its standard
// input says, one command a line, and answers each with one line of JSON. tests/bench/scale_bench.py drives it.
//
//   bench_fleet_load ADDRESS WORKERS [FIRST_NUMBER [PKI]]
//
// With PKI, the directory of that name of a coordinator on this machine, everybody has a certificate of its authority.
//
//   connect PENDING                 connects all workers, so many at a time
//   heartbeats SECONDS              lateness and round trips of heartbeats
//   submit JOBS                     jobs of one run, one after the other, each on another device
//   turns DEVICES REPETITIONS MS    one job: so many runs on each device, each as long as that
//   chunks DEVICES WINDOW PACE_MS   begins a run on each device; it sends a chunk whenever fewer than WINDOW wait for
//                                   their acknowledgement, or every PACE_MS where that is not zero
//   measure SECONDS                 acknowledged chunks and how long that took
//   witness FILE                    what was acknowledged until now: run, attempt, position
//   end                             ends the runs that `chunks` began
//   states                          how many devices are in which state
//   quit
#include <sys/resource.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <map>
#include <memory>
#include <optional>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include "absl/synchronization/mutex.h"
#include "ballast/v1/client_service.grpc.pb.h"
#include "common/base/logging.h"
#include "common/metrics/chunk_codec.h"
#include "common/rpc/channel.h"
#include "tests/bench/fleet_certificates.h"
#include "tests/bench/simulated_worker.h"
#include "tests/bench/source_address.h"
#include "tests/bench/synthetic_samples.h"

namespace ballast::bench {
namespace {

constexpr std::size_t kSamplesPerChunk = 50;  // five seconds at ten samples a second, as workers do it
constexpr std::size_t kMaxNamedDevices = 1000;
// A worker asks for the coordinator's clock every half minute: with one heartbeat of so many. In small fleets they ask
// more often, so that there is something to measure. Counted for each generator.
constexpr std::size_t kProbeEvery = 15;
constexpr std::size_t kWorkersOfOften = 400;
constexpr std::chrono::seconds kPatience{240};

double SecondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

double Milliseconds(Clock::duration duration) {
  return std::chrono::duration<double, std::milli>(duration).count();
}

// `"NAME":{"n":…,"p50":…,"p99":…,"max":…}` of sorted values.
std::string Distribution(std::string_view name, const std::vector<double>& sorted) {
  const auto at = [&sorted](double share) {
    if (sorted.empty()) return 0.0;
    const auto rank = static_cast<std::size_t>(std::ceil(share * static_cast<double>(sorted.size())));
    return sorted[std::clamp<std::size_t>(rank, 1, sorted.size()) - 1];
  };
  return fmt::format(R"("{}":{{"n":{},"p50":{:.3f},"p99":{:.3f},"max":{:.3f}}})", name, sorted.size(), at(0.5),
                     at(0.99), at(1.0));
}

class Generator {
 public:
  // Without certificates everybody speaks plain text.
  Generator(std::string address, std::size_t workers, std::size_t first_number,
            const std::optional<FleetCertificates>& certificates)
      : channel_(*rpc::CreateChannel(address, false, Issue(certificates, v1::CLIENT, "load").get())),
        jobs_(v1::JobService::NewStub(channel_)),
        devices_(v1::DeviceService::NewStub(channel_)) {
    fleet_.address = std::move(address);
    fleet_.name = fmt::format("load-{}", first_number);
    fleet_.probe_every = std::clamp<std::size_t>(workers / kWorkersOfOften, 1, kProbeEvery);
    SyntheticSamples source(SyntheticSamples::Load::kHold);
    metrics::ChunkBuilder builder;
    for (std::size_t i = 0; i < 64; ++i) {
      for (std::size_t k = 0; k < kSamplesPerChunk; ++k) {
        builder.AddSample(std::chrono::milliseconds(100) * (i * kSamplesPerChunk + k), source.Next());
      }
      const v1::Chunk chunk = builder.Finish();
      for (const v1::MetricSummary& summary : chunk.header().summaries()) values_ += summary.count();
      fleet_.chunks.emplace_back(chunk.SerializeAsString());
      chunk_bytes_ += fleet_.chunks.back().size();
    }
    for (std::size_t i = 0; i < workers; ++i) {
      auto worker = std::make_unique<SimulatedWorker>(&fleet_, first_number + i);
      worker->set_identity(Issue(certificates, v1::WORKER, worker->device_id()));
      workers_.push_back(std::move(worker));
    }
  }

  ~Generator() {
    fleet_.closing = true;
    fleet_.timetable.Stop();
    for (const auto& worker : workers_) worker->Cancel();
    for (const auto& worker : workers_) worker->Join();
  }

  Generator(const Generator&) = delete;
  Generator& operator=(const Generator&) = delete;

  // The answer, without its braces.
  std::string Do(const std::string& line) {
    std::istringstream words(line);
    std::string command;
    words >> command;
    const auto number = [&words] {
      double value = 0;
      words >> value;
      return value;
    };
    const auto count = [&number] { return static_cast<std::size_t>(number()); };
    if (command == "connect") return Connect(count());
    if (command == "heartbeats") return Heartbeats(number());
    if (command == "submit") return Submit(count());
    if (command == "turns") {
      const std::size_t devices = count();
      const std::size_t repetitions = count();
      return Turns(devices, repetitions, static_cast<int>(number()));
    }
    if (command == "chunks") {
      const std::size_t devices = count();
      const std::size_t window = count();
      return Chunks(devices, window, static_cast<int>(number()));
    }
    if (command == "measure") return Measure(number());
    if (command == "witness") {
      std::string file;
      words >> file;
      return Witness(file);
    }
    if (command == "end") return End();
    if (command == "states") return States();
    return Problem(fmt::format("no command: {}", command));
  }

 private:
  static std::unique_ptr<tls::Identity> Issue(const std::optional<FleetCertificates>& certificates, v1::Role role,
                                              const std::string& name) {
    return certificates ? std::make_unique<tls::Identity>(certificates->Issue(role, name).value()) : nullptr;
  }

  static std::string Problem(std::string_view text) {
    std::string safe(text);
    std::ranges::replace_if(
        safe, [](char c) { return c == '"' || c == '\\' || c < ' '; }, ' ');
    return fmt::format(R"("error":"{}")", safe);
  }

  // False where that took too long.
  template <typename Condition>
  bool WaitFor(Condition condition) {
    std::unique_lock lock(fleet_.mutex);
    return fleet_.changed.wait_for(lock, kPatience, condition);
  }

  std::string Connect(std::size_t pending) {
    const auto begin = Clock::now();
    for (std::size_t i = 0; i < workers_.size(); ++i) {
      if (!WaitFor([&] { return i < fleet_.welcomed + fleet_.lost + std::max<std::size_t>(pending, 1); })) break;
      workers_[i]->Connect();
    }
    (void)WaitFor([&] { return fleet_.welcomed + fleet_.lost >= workers_.size(); });
    const double seconds = SecondsSince(begin);
    const std::lock_guard lock(fleet_.mutex);
    return fmt::format(R"("connected":{},"lost":{},"seconds":{:.3f},{},"problem":"{}")", fleet_.welcomed.load(),
                       fleet_.lost.load(), seconds, Distribution("connect_ms", fleet_.connect_ms.Take()),
                       fleet_.first_problem);
  }

  std::string Heartbeats(double seconds) {
    (void)fleet_.lateness_ms.Take();
    (void)fleet_.round_trip_ms.Take();
    std::this_thread::sleep_for(std::chrono::duration<double>(seconds));  // what is measured is the passing of time
    return fmt::format(R"({},{},"lost":{})", Distribution("lateness_ms", fleet_.lateness_ms.Take()),
                       Distribution("round_trip_ms", fleet_.round_trip_ms.Take()), fleet_.lost.load());
  }

  // The devices from `first` on; every one of this generator where that are too many to name.
  absl::StatusOr<v1::Job> SubmitOn(std::size_t first, std::size_t devices, std::size_t repetitions) {
    v1::SubmitJobRequest request;
    v1::JobSpec* const spec = request.mutable_spec();
    spec->mutable_workload()->mutable_pressure()->mutable_burst()->set_target_percent(50);
    spec->set_repetitions(static_cast<std::uint32_t>(repetitions));
    if (devices >= workers_.size() && devices > kMaxNamedDevices) {
      (*spec->mutable_devices()->mutable_labels())["fleet"] = fleet_.name;
    } else {
      for (std::size_t i = 0; i < devices; ++i) {
        spec->mutable_devices()->add_device_ids(workers_[(first + i) % workers_.size()]->device_id());
      }
    }
    v1::Job job;
    const grpc::Status status = jobs_->SubmitJob(rpc::MakeContext(kPatience).get(), request, &job);
    if (!status.ok()) return rpc::FromGrpc(status);
    return job;
  }

  void ForgetRuns() {
    fleet_.measured_since = Clock::now();
    const std::lock_guard lock(fleet_.mutex);
    fleet_.runs.clear();
    fleet_.started_runs = fleet_.ended_runs = 0;
  }

  std::string Submit(std::size_t jobs) {
    std::vector<double> replied;
    std::vector<double> assigned;
    std::vector<double> started;
    fleet_.send_chunks = false;
    fleet_.run_ms = 0;
    for (std::size_t i = 0; i < jobs; ++i) {
      ForgetRuns();
      const auto begin = Clock::now();
      const absl::StatusOr<v1::Job> job = SubmitOn(i * 7919, 1, 1);
      if (!job.ok()) return Problem(std::string(job.status().message()));
      replied.push_back(Milliseconds(Clock::now() - begin));
      if (!WaitFor([this] { return fleet_.ended_runs == 1; })) return Problem("the run did not end");
      const std::lock_guard lock(fleet_.mutex);
      const RunTimes& times = fleet_.runs.begin()->second;
      assigned.push_back(Milliseconds(times.assigned - begin));
      started.push_back(Milliseconds(times.started - begin));
    }
    for (std::vector<double>* values : {&replied, &assigned, &started}) std::ranges::sort(*values);
    return fmt::format("{},{},{}", Distribution("submit_to_reply_ms", replied),
                       Distribution("submit_to_assignment_ms", assigned),
                       Distribution("submit_to_started_ms", started));
  }

  std::string Turns(std::size_t devices, std::size_t repetitions, int run_ms) {
    ForgetRuns();
    (void)fleet_.turnaround_ms.Take();
    (void)fleet_.lateness_ms.Take();
    fleet_.send_chunks = false;
    fleet_.run_ms = run_ms;
    devices = std::min(devices, workers_.size());
    const auto begin = Clock::now();
    const absl::StatusOr<v1::Job> job = SubmitOn(0, devices, repetitions);
    if (!job.ok()) return Problem(std::string(job.status().message()));
    const double reply_seconds = SecondsSince(begin);
    if (!WaitFor([&] { return fleet_.started_runs >= devices; })) return Problem("the runs did not begin");
    const double wave_seconds = SecondsSince(begin);
    if (!WaitFor([&] { return fleet_.ended_runs >= job->run_count(); })) return Problem("the runs did not end");
    const double seconds = SecondsSince(begin);
    return fmt::format(
        R"("runs":{},"seconds":{:.3f},"submit_seconds":{:.3f},"all_started_seconds":{:.3f},"runs_per_second":{:.1f},{},{})",
        job->run_count(), seconds, reply_seconds, wave_seconds, job->run_count() / seconds,
        Distribution("turnaround_ms", fleet_.turnaround_ms.Take()),
        Distribution("lateness_ms", fleet_.lateness_ms.Take()));
  }

  std::string Chunks(std::size_t devices, std::size_t window, int pace_ms) {
    ForgetRuns();
    fleet_.window = std::max<std::size_t>(window, 1);
    fleet_.pace_ms = pace_ms;
    fleet_.send_chunks = true;
    devices = std::min(devices, workers_.size());
    const auto begin = Clock::now();
    const absl::StatusOr<v1::Job> job = SubmitOn(0, devices, 1);
    if (!job.ok()) return Problem(std::string(job.status().message()));
    if (!WaitFor([&] { return fleet_.started_runs >= job->run_count(); })) return Problem("the runs did not begin");
    return fmt::format(R"("started":{},"seconds":{:.3f},"job":"{}")", job->run_count(), SecondsSince(begin),
                       job->job_id());
  }

  std::string Measure(double seconds) {
    (void)fleet_.ack_ms.Take();
    (void)fleet_.lateness_ms.Take();
    const std::uint64_t before = fleet_.acked_chunks;
    const auto begin = Clock::now();
    std::this_thread::sleep_for(std::chrono::duration<double>(seconds));  // what is measured is the passing of time
    const auto chunks = static_cast<double>(fleet_.acked_chunks - before);
    const double elapsed = SecondsSince(begin);
    const double values = chunks * static_cast<double>(values_) / static_cast<double>(fleet_.chunks.size());
    return fmt::format(R"("chunks_per_second":{:.1f},"values_per_second":{:.0f},"chunk_bytes":{:.0f},)"
                       R"("values_per_chunk":{:.0f},"acked_chunks":{},{},{},"lost":{})",
                       chunks / elapsed, values / elapsed,
                       static_cast<double>(chunk_bytes_) / static_cast<double>(fleet_.chunks.size()),
                       static_cast<double>(values_) / static_cast<double>(fleet_.chunks.size()),
                       fleet_.acked_chunks.load(), Distribution("ack_ms", fleet_.ack_ms.Take()),
                       Distribution("lateness_ms", fleet_.lateness_ms.Take()), fleet_.lost.load());
  }

  std::string Witness(const std::string& file) {
    std::ofstream out(file);
    std::size_t runs = 0;
    std::uint64_t records = 0;
    for (const auto& worker : workers_) {
      for (const SimulatedWorker::Witness& witness : worker->witnesses()) {
        out << fmt::format("{} {} {}\n", witness.run_id, witness.attempt, witness.acked_seq);
        ++runs;
        records += witness.acked_seq;
      }
    }
    out.close();
    if (!out) return Problem(fmt::format("{} cannot be written", file));
    return fmt::format(R"("runs":{},"records":{})", runs, records);
  }

  std::string End() {
    fleet_.send_chunks = false;
    for (const auto& worker : workers_) worker->EndChunks();
    if (!WaitFor([this] { return fleet_.ended_runs >= fleet_.started_runs; })) return Problem("the runs did not end");
    const std::lock_guard lock(fleet_.mutex);
    return fmt::format(R"("ended":{},"acked_chunks":{})", fleet_.ended_runs, fleet_.acked_chunks.load());
  }

  std::string States() {
    std::map<v1::Device::State, std::size_t> states;
    v1::ListDevicesRequest request;
    request.set_page_size(1000);
    const auto begin = Clock::now();
    do {
      v1::ListDevicesResponse page;
      const grpc::Status status = devices_->ListDevices(rpc::MakeContext().get(), request, &page);
      if (!status.ok()) return Problem(status.error_message());
      for (const v1::Device& device : page.devices()) ++states[device.state()];
      request.set_page_token(page.next_page_token());
    } while (!request.page_token().empty());
    std::string text = fmt::format(R"("list_ms":{:.1f})", Milliseconds(Clock::now() - begin));
    for (const auto& [state, devices] : states) {
      text += fmt::format(R"(,"{}":{})", v1::Device::State_Name(state), devices);
    }
    return text;
  }

  Fleet fleet_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::JobService::Stub> jobs_;
  std::unique_ptr<v1::DeviceService::Stub> devices_;
  std::vector<std::unique_ptr<SimulatedWorker>> workers_;
  std::uint64_t values_ = 0;       // in all of fleet_.chunks
  std::uint64_t chunk_bytes_ = 0;  // of all of them
};

// Every connection takes a descriptor.
void RaiseFileLimit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  (void)::setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace
}  // namespace ballast::bench

int main(int argc, char** argv) {
  if (argc < 3 || std::atoi(argv[2]) < 1) {
    fmt::print(stderr, "usage: bench_fleet_load ADDRESS WORKERS [FIRST_NUMBER [PKI]]\n");
    return 2;
  }
  (void)ballast::base::InitLogging("bench_fleet_load", "warn");
  ballast::bench::RaiseFileLimit();
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);  // as the coordinator does
  if (const auto local = ballast::rpc::IsLocalAddress(argv[1]); !local.ok() || !*local) {
    fmt::print(stderr, "error: {} is no address of this machine\n", argv[1]);
    return 2;
  }
  std::optional<ballast::bench::FleetCertificates> certificates;
  if (argc > 4) {
    auto opened = ballast::bench::FleetCertificates::Open(argv[4]);
    if (!opened.ok()) {
      fmt::print(stderr, "error: certificates of {}: {}\n", argv[4], std::string(opened.status().message()));
      return 1;
    }
    certificates = *std::move(opened);
  }
  const auto first_number = argc > 3 ? static_cast<std::size_t>(std::atoi(argv[3])) : 0;
  ballast::bench::ConnectFrom(static_cast<std::uint32_t>(1 + first_number));
  ballast::bench::Generator generator(argv[1], static_cast<std::size_t>(std::atoi(argv[2])), first_number,
                                      certificates);
  std::string line;
  bool failed = false;
  while (std::getline(std::cin, line) && line != "quit") {
    const std::string answer = generator.Do(line);
    failed = failed || answer.starts_with("\"error\"");
    std::cout << '{' << answer << "}\n" << std::flush;
  }
  return failed ? 1 : 0;
}

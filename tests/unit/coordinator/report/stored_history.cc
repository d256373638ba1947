#include "stored_history.h"

#include <cstdint>
#include <cstdlib>
#include <string>
#include <utility>

#include "common/metrics/chunk_codec.h"
#include "common/metrics/metric_table.h"
#include "message_text.h"
#include "storage/sqlite/sqlite_store.h"

namespace ballast::report {
namespace {

using metrics::IndexOf;
using metrics::MetricId;
using std::chrono::milliseconds;

constexpr std::int64_t kMiB = 1024 * 1024;

// Device and runs come as text, since that is how they read best.
constexpr char kDevice[] = R"pb(
  device_id: "d-000000000a"
  labels { key: "class" value: "a" }
  labels { key: "地点" value: "实验室 2" }
  facts {
    hostname: "pi-4"
    architecture: "aarch64"
    cpu_model: "Cortex-A72"
    cpu_count: 4
    memory_bytes: 4117528576
    swap_bytes: 104853504
    kernel_release: "6.1.0"
    os_name: "Debian GNU/Linux 12 (bookworm)"
    cgroup_version: 2
    limit_bytes: 4117528576
    limit_source: "machine"
    capabilities: WORKLOAD_PRESSURE
    capabilities: PSI
    worker_version: "0.1.0"
    boot_id: "11111111-1111-1111-1111-111111111111"
    page_size_bytes: 4096
    limitations: "oom_score_adj stays at 0: no CAP_SYS_RESOURCE"
  }
  state: BUSY
  state_time { seconds: 1772600000 }
  create_time { seconds: 1772000000 }
  last_seen_time { seconds: 1772600700 nanos: 500000000 }
  active_run_id: "j-0000000002.2"
)pb";

constexpr char kRemovedDevice[] = R"pb(
  device_id: "d-000000000b"
  facts { hostname: "long-gone" }
  state: OFFLINE
)pb";

constexpr char kStaircaseJob[] = R"pb(
  job_id: "j-0000000001"
  spec {
    display_name: "阶梯, \"100 MiB\""
    workload {
      pressure {
        staircase {
          step_size_bytes: 104857600
          interval { seconds: 1 }
          steps: 2
        }
        content { kind: RANDOM compression_ratio: 2 }
        baseline { seconds: 1 }
        recovery { seconds: 1 }
        floor_percent: 5
      }
    }
    devices { all: true }
    repetitions: 2
    environment: "极限2GB模式"
    policy {
      lost_after { seconds: 3600 }
      max_attempts: 2
      expect: COMPLETED
    }
    telemetry { sample_interval { nanos: 100000000 } }
    annotations { key: "commit" value: "c0ffee" }
    annotations { key: "note" value: "a=b;c\\d" }
  }
  state: FINISHED
  create_time { seconds: 1772600000 }
  start_time { seconds: 1772600001 }
  end_time { seconds: 1772600500 }
  submitter: "ann"
  run_count: 4
  ended_run_count: 4
  expected_run_count: 1
)pb";

constexpr char kBurstJob[] = R"pb(
  job_id: "j-0000000002"
  spec {
    workload {
      pressure {
        burst {
          target_percent: 70
          duration { seconds: 5 }
        }
      }
    }
    repetitions: 2
  }
  state: RUNNING
  create_time { seconds: 1772600600 }
  start_time { seconds: 1772600601 }
  submitter: "bob"
  run_count: 2
  ended_run_count: 1
  expected_run_count: 1
)pb";

constexpr char kCompletedRun[] = R"pb(
  run_id: "j-0000000001.1"
  job_id: "j-0000000001"
  device_id: "d-000000000a"
  repetition: 1
  state: ENDED
  outcome { kind: COMPLETED message: "all 2 steps were reached" }
  attempts {
    attempt: 1
    start_time { seconds: 1772600001 nanos: 500000000 }
    end_time { seconds: 1772600006 nanos: 500000000 }
    boot_id: "11111111-1111-1111-1111-111111111111"
    result {
      outcome { kind: COMPLETED message: "all 2 steps were reached" }
      phases {
        kind: BASELINE
        start_offset {}
        end_offset { seconds: 1 }
      }
      phases {
        kind: RAMP
        start_offset { seconds: 1 }
        end_offset { seconds: 3 }
      }
      phases {
        kind: RELEASE
        start_offset { seconds: 3 }
        end_offset { seconds: 3 nanos: 50000000 }
      }
      phases {
        kind: RECOVERY
        start_offset { seconds: 3 nanos: 50000000 }
        end_offset { seconds: 4 }
      }
      steps {
        index: 1
        offset { seconds: 1 nanos: 100000000 }
        fill_duration { nanos: 50000000 }
        held_bytes: 104857600
        resident_delta_bytes: 104861696
        resident_bytes: 110100480
      }
      steps {
        index: 2
        offset { seconds: 2 nanos: 100000000 }
        fill_duration { nanos: 51000000 }
        held_bytes: 209715200
        resident_delta_bytes: 104857600
        resident_bytes: 214958080
      }
      peak_held_bytes: 209715200
      peak_resident_bytes: 214958080
      fill_bytes_per_second: 2076388118.8
      limit_bytes: 4117528576
      limit_source: "machine"
      observer_cost { cpu_time { nanos: 12500000 } }
      sample_count: 8
    }
  }
  create_time { seconds: 1772600000 }
  start_time { seconds: 1772600001 nanos: 600000000 }
  end_time { seconds: 1772600006 nanos: 700000000 }
  workload_kind: "pressure"
  annotations { key: "commit" value: "c0ffee" }
  annotations { key: "note" value: "a=b;c\\d" }
)pb";

constexpr char kOomKilledRun[] = R"pb(
  run_id: "j-0000000001.2"
  job_id: "j-0000000001"
  device_id: "d-000000000a"
  repetition: 2
  state: ENDED
  outcome {
    kind: OOM_KILLED
    message: "=the kernel ended the runner,\nout of memory on the whole machine"
    evidence {
      killer: KERNEL_GLOBAL_OOM
      held_bytes: 104857600
      signal: 9
      global_oom_kill_count: 1
      last_samples {
        offset_ms: 1900
        offset_ms: 2000
        columns { metric: "mem_available_bytes" values: 52428800 values: 1048576 }
        columns { metric: "psi_memory_full_avg10" values: nan values: 87.5 }
        stride: 1
      }
      kernel_log: "Out of memory: Killed process 4321 (ballast-worker) total-vm:9\"9\"kB"
      start_boot_id: "11111111-1111-1111-1111-111111111111"
      end_boot_id: "11111111-1111-1111-1111-111111111111"
    }
  }
  attempts {
    attempt: 1
    start_time { seconds: 1772600010 }
    end_time { seconds: 1772600011 }
    boot_id: "00000000-0000-0000-0000-000000000000"
    result { outcome { kind: WORKER_CRASHED message: "the agent ended" } }
  }
  attempts {
    attempt: 2
    start_time { seconds: 1772600020 }
    end_time { seconds: 1772600022 nanos: 250000000 }
    boot_id: "11111111-1111-1111-1111-111111111111"
    result {
      outcome { kind: OOM_KILLED message: "the kernel ended the runner" }
      phases {
        kind: BASELINE
        start_offset {}
        end_offset { seconds: 1 }
      }
      phases {
        kind: RAMP
        start_offset { seconds: 1 }
      }
      steps {
        index: 1
        offset { seconds: 1 nanos: 200000000 }
        held_bytes: 104857600
        resident_bytes: 110100480
      }
      peak_held_bytes: 104857600
      limit_bytes: 4117528576
      limit_source: "machine"
      sample_count: 2
      missed_sample_count: 1
    }
  }
  create_time { seconds: 1772600000 }
  start_time { seconds: 1772600010 }
  end_time { seconds: 1772600023 }
  workload_kind: "pressure"
  annotations { key: "commit" value: "c0ffee" }
  annotations { key: "note" value: "a=b;c\\d" }
)pb";

constexpr char kLostRun[] = R"pb(
  run_id: "j-0000000001.3"
  job_id: "j-0000000001"
  device_id: "d-000000000b"
  repetition: 1
  state: ENDED
  outcome { kind: DEVICE_LOST message: "not heard for 1 h" }
  attempts {
    attempt: 1
    start_time { seconds: 1772600002 }
    end_time { seconds: 1772603602 }
    result { outcome { kind: DEVICE_LOST message: "not heard for 1 h" } }
    given_up: true
  }
  create_time { seconds: 1772600000 }
  start_time { seconds: 1772600002 }
  end_time { seconds: 1772603602 }
  workload_kind: "pressure"
  late_results {
    attempt: 1
    receive_time { seconds: 1772700000 }
    result {
      outcome { kind: COMPLETED message: "all 2 steps were reached" }
      peak_held_bytes: 209715200
    }
  }
  lease_expire_time { seconds: 1772603602 }
)pb";

constexpr char kCancelledRun[] = R"pb(
  run_id: "j-0000000001.4"
  job_id: "j-0000000001"
  device_id: "d-000000000b"
  repetition: 2
  state: ENDED
  outcome { kind: CANCELLED message: "a user cancelled it" }
  create_time { seconds: 1772600000 }
  end_time { seconds: 1772600400 }
  workload_kind: "pressure"
)pb";

constexpr char kBurstRun[] = R"pb(
  run_id: "j-0000000002.1"
  job_id: "j-0000000002"
  device_id: "d-000000000a"
  repetition: 1
  state: ENDED
  outcome { kind: COMPLETED message: "70 % was held for 5 s" }
  attempts {
    attempt: 1
    start_time { seconds: 1772600601 }
    end_time { seconds: 1772600609 }
    result {
      outcome { kind: COMPLETED message: "70 % was held for 5 s" }
      phases {
        kind: HOLD
        start_offset { seconds: 2 }
        end_offset { seconds: 7 }
        target_percent: 70
        hold_quality {
          sample_count: 50
          within_half_point_count: 49
          within_one_point_count: 50
          min_percent: 69.4
          max_percent: 70.25
        }
      }
      peak_held_bytes: 2147483648
      peak_resident_bytes: 2152726528
      time_to_target { nanos: 812500000 }
      fill_bytes_per_second: 2643056797.5384617
      limit_bytes: 4117528576
      limit_source: "machine"
      observer_cost { cpu_time { nanos: 16000000 } }
      sample_count: 80
    }
  }
  create_time { seconds: 1772600600 }
  start_time { seconds: 1772600601 }
  end_time { seconds: 1772600609 }
  workload_kind: "pressure"
)pb";

constexpr char kRunningRun[] = R"pb(
  run_id: "j-0000000002.2"
  job_id: "j-0000000002"
  device_id: "d-000000000a"
  repetition: 2
  state: RUNNING
  attempts {
    attempt: 1
    start_time { seconds: 1772600610 }
  }
  create_time { seconds: 1772600600 }
  start_time { seconds: 1772600610 }
  workload_kind: "pressure"
)pb";

storage::PutRun PutRun(const std::string& text) {
  return {.run = Parse<v1::Run>(text)};
}

// A sample of a machine that fills up: `step` counts from 0.
metrics::SampleRow Sample(std::int64_t step) {
  metrics::SampleRow row = metrics::EmptyRow();
  row[IndexOf(MetricId::kMemUsedPercent)] = 20'000 + 2'500 * step;
  row[IndexOf(MetricId::kMemAvailableBytes)] = 3000 * kMiB - 100 * kMiB * step;
  row[IndexOf(MetricId::kRunnerHeldBytes)] = 25 * kMiB * step;
  row[IndexOf(MetricId::kVmPgmajfaultTotal)] = 1000 + step * step;
  // The first sample is too early for the average, so the column has a gap.
  if (step > 0) row[IndexOf(MetricId::kPsiMemorySomeAvg10)] = 12 * step;
  return row;
}

// `count` samples from `first` on, half a second apart, and the events.
storage::PutChunk PutSamples(const std::string& run_id, std::uint32_t attempt, std::uint64_t seq, std::int64_t first,
                             std::int64_t count, const std::vector<std::string>& events) {
  metrics::ChunkBuilder builder;
  for (std::int64_t step = first; step < first + count; ++step) {
    builder.AddSample(milliseconds(500 * step), Sample(step));
  }
  for (const std::string& event : events) builder.AddEvent(Parse<v1::Event>(event));
  return {.run_id = run_id, .attempt = attempt, .seq = seq, .chunk = builder.Finish()};
}

}  // namespace

base::SystemTime FixedClock::Now() const {
  return base::SystemTime(std::chrono::seconds(1772600767) + milliseconds(89));
}

TemporaryDirectory::TemporaryDirectory() {
  std::string name = (std::filesystem::temp_directory_path() / "ballast-test-XXXXXX").string();
  EXPECT_NE(mkdtemp(name.data()), nullptr);
  path_ = name;
}

TemporaryDirectory::~TemporaryDirectory() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

void StoredHistoryTest::SetUp() {
  absl::StatusOr<std::unique_ptr<storage::Store>> store = storage::OpenSqliteStore(directory_.path() / "ballast.db");
  ASSERT_TRUE(store.ok()) << store.status();
  store_ = *std::move(store);

  Write({
      storage::PutDevice{.device = Parse<v1::Device>(report::kDevice)},
      storage::PutDevice{.device = Parse<v1::Device>(report::kRemovedDevice)},
      storage::PutJob{.job = Parse<v1::Job>(report::kStaircaseJob)},
      storage::PutJob{.job = Parse<v1::Job>(report::kBurstJob)},
      PutRun(kCompletedRun),
      PutRun(kOomKilledRun),
      PutRun(kLostRun),
      PutRun(kCancelledRun),
      PutRun(kBurstRun),
      PutRun(kRunningRun),
      PutSamples("j-0000000001.1", 1, 2, 0, 4,
                 {"offset { seconds: 1 } kind: PHASE_STARTED message: 'ramp'",
                  "offset { seconds: 1 nanos: 100000000 } kind: STEP_REACHED message: 'step 1' value: 104857600"}),
      PutSamples("j-0000000001.1", 1, 3, 4, 3, {}),
      PutSamples("j-0000000001.1", 1, 4, 7, 1,
                 {"offset { seconds: 2 nanos: 100000000 } kind: STEP_REACHED message: 'step 2' value: 209715200"}),
      PutSamples("j-0000000001.2", 1, 2, 0, 1, {"kind: LAGGED message: 'of the attempt that does not count'"}),
      PutSamples("j-0000000001.2", 2, 2, 0, 2,
                 {"offset { seconds: 2 } kind: OOM_KILL message: '内存不足' value: 4321"}),
      PutSamples("j-0000000002.1", 1, 2, 0, 3, {}),
      PutSamples("j-0000000002.2", 1, 2, 0, 1, {"kind: PHASE_STARTED message: 'baseline'"}),
      storage::DeleteDevice{.device_id = StoredHistoryTest::kRemovedDevice},
  });
}

void StoredHistoryTest::WriteMatrixJob() {
  absl::StatusOr<v1::Job> job = store_->GetJob(kStaircaseJob);
  absl::StatusOr<v1::Run> run = store_->GetRun("j-0000000001.1");
  ASSERT_TRUE(job.ok() && run.ok());
  job->set_job_id(kMatrixJob);
  job->clear_request_id();
  job->mutable_spec()->clear_environment();
  job->mutable_spec()->clear_environment_profile();
  v1::JobMatrix& matrix = *job->mutable_spec()->mutable_matrix();
  storage::WriteBatch batch = {storage::PutJob{}};
  for (const std::string environment : {"4gb", "none"}) {
    matrix.add_environments(environment);
    matrix.add_environment_profiles()->set_name(environment == "none" ? "" : environment);
    run->set_job_id(kMatrixJob);
    run->set_run_id(kMatrixJob + ("." + std::to_string(matrix.environments_size())));
    run->set_matrix_environment(environment);
    batch.push_back(storage::PutRun{.run = *run});
  }
  batch.front() = storage::PutJob{.job = *job};
  Write(std::move(batch));
}

void StoredHistoryTest::Write(storage::WriteBatch batch) {
  const absl::Status written = store_->WriteAndWait(std::move(batch));
  ASSERT_TRUE(written.ok()) << written;
}

}  // namespace ballast::report

#include "recorded_loads.h"

#include <string>
#include <vector>

#include <fmt/format.h>

#include "message_text.h"

namespace ballast::report {
namespace {

constexpr std::uint64_t kMiB = std::uint64_t{1} << 20U;

constexpr char kDevice[] = R"(
    device_id: "{}"
    facts {{
      hostname: "{}"
      limit_bytes: {}
    }}
    labels {{ key: "class" value: "mini-pc" }}
    state: READY
  )";

// What the catalogue knew when the job was accepted.
constexpr char kModels[] = R"pb(
  models {
    model_id: "pocket"
    quant: "Q2_K"
    description { file_bytes: 314572800 weight_bytes: 314572800 }
  }
  models {
    model_id: "pocket"
    quant: "Q4_K_M"
    description { file_bytes: 471859200 weight_bytes: 471859200 }
  }
  models {
    model_id: "pocket"
    quant: "Q6_K"
    description { file_bytes: 681574400 weight_bytes: 681574400 }
  }
)pb";

struct Level {
  std::string quant;
  std::uint64_t bytes;
  double load_seconds;
  double pass_seconds;
  bool survives = true;
};

std::string Offset(double seconds) {
  const auto whole = static_cast<long>(seconds);
  return fmt::format("{{ seconds: {} nanos: {} }}", whole,
                     static_cast<long>((seconds - static_cast<double>(whole)) * 1e9));
}

std::string LoadText(const Level& level, int index, int repetition, int cycle, double start) {
  const double passes_start = start + level.load_seconds + level.pass_seconds;
  std::string text =
      fmt::format(R"(
    index: {}
    model_id: "pocket"
    quant: "{}"
    repetition: {}
    cycle: {}
    loader: MMAP
    runtime: BUILTIN
    start_offset {}
    asked_cache: COLD
    found_cache: COLD
    file_bytes: {}
    weight_bytes: {}
    threads: 1
    estimate {{
      weight_file_bytes: {}
      overhead_bytes: 8388608
      required_bytes: 8388608
      resident_bytes: {}
    }}
    file_source: "present"
    stages {{
      kind: PARSE
      start_offset {}
      duration {{ nanos: 12000000 }}
    }}
    stages {{
      kind: LOAD
      start_offset {}
      duration {}
      weight_bytes: {}
    }}
  )",
                  index, level.quant, repetition, cycle, Offset(start), level.bytes, level.bytes, level.bytes,
                  level.bytes + 8 * kMiB, Offset(start), Offset(start), Offset(level.load_seconds), level.bytes);
  if (!level.survives) {
    return text + fmt::format(R"(
    end_offset {}
    peak_resident_bytes: {}
    major_faults: 90
    outcome {{
      kind: OOM_KILLED
      message: "=the kernel ended the load's runner"
      evidence {{ killer: KERNEL_MEMCG_OOM signal: 9 }}
    }}
  )",
                              Offset(passes_start), level.bytes / 2);
  }
  return text + fmt::format(R"(
    stages {{
      kind: FIRST_PASS
      start_offset {}
      duration {}
      weight_bytes: {}
    }}
    stages {{
      kind: PASSES
      start_offset {}
      duration {{ seconds: 2 }}
      weight_bytes: {}
      pass_count: 4
    }}
    end_offset {}
    peak_resident_bytes: {}
    peak_anon_bytes: 6291456
    peak_file_bytes: {}
    minor_faults: 500
    major_faults: {}
    disk_read_bytes: {}
    checksum: 81985529216486895
    outcome {{ kind: COMPLETED message: "loaded and used" }}
  )",
                            Offset(start + level.load_seconds), Offset(level.pass_seconds), level.bytes,
                            Offset(passes_start), 4 * level.bytes, Offset(passes_start + 2), level.bytes + 6 * kMiB,
                            level.bytes, level.bytes / (64 * 1024), level.bytes);
}

std::string QuantizationRun(const std::string& run_id, const std::string& device, std::vector<Level> levels) {
  std::string loads;
  int index = 0;
  for (int repetition = 1; repetition <= 2; ++repetition) {
    for (Level& level : levels) {
      ++index;
      loads += fmt::format("loads {{ {} }}", LoadText(level, index, repetition, 0, 10.0 * index));
      level.pass_seconds += 0.25;
    }
  }
  return fmt::format(R"(
    run_id: "{}"
    job_id: "j-0000000003"
    device_id: "{}"
    repetition: 1
    state: ENDED
    workload_kind: "quantization"
    outcome {{ kind: COMPLETED message: "every load had its turn" }}
    create_time {{ seconds: 1772610000 }}
    start_time {{ seconds: 1772610001 }}
    end_time {{ seconds: 1772610101 }}
    attempts {{
      attempt: 1
      start_time {{ seconds: 1772610001 }}
      end_time {{ seconds: 1772610101 }}
      result {{
        outcome {{ kind: COMPLETED message: "every load had its turn" }}
        validity {{ valid: true }} {}
      }}
    }}
  )",
                     run_id, device, loads);
}

std::string Cycle(int index, double start, const char* outcome, std::uint64_t agent_bytes) {
  const bool survived = std::string(outcome) == "COMPLETED";
  return fmt::format(R"(
    cycles {{
      index: {}
      start_offset {}
      end_offset {}
      outcome: {}
      agent_resident_bytes: {}
      runner_resident_bytes: 320864256
      system_used_bytes: {}
      {}
    }}
  )",
                     index, Offset(start), Offset(start + 15), outcome, agent_bytes,
                     600 * kMiB + static_cast<std::uint64_t>(index % 2) * kMiB,
                     survived ? fmt::format("load_time {}", Offset(1.5 + 0.125 * (index % 2))) : "");
}

std::string SoakRun() {
  std::string first;
  std::string second;
  for (int i = 1; i <= 3; ++i) {
    first += fmt::format("loads {{ {} }}", LoadText({"Q2_K", 300 * kMiB, 0.5, 1}, i, i, i, 15.0 * i)) +
             Cycle(i, 15.0 * (i - 1), "COMPLETED", (8 + static_cast<std::uint64_t>(i)) * kMiB);
  }
  for (int i = 4; i <= 6; ++i) {
    const bool survives = i != 5;
    second += fmt::format("loads {{ {} }}",
                          LoadText({"Q2_K", 300 * kMiB, 0.5, 1, survives}, i - 3, i - 3, i, 15.0 * (i - 3))) +
              Cycle(i, 15.0 * (i - 4), survives ? "COMPLETED" : "OOM_KILLED",
                    (5 + static_cast<std::uint64_t>(i)) * kMiB + 1024);
  }
  return fmt::format(R"(
    run_id: "j-0000000004.1"
    job_id: "j-0000000004"
    device_id: "d-000000000d"
    repetition: 1
    state: ENDED
    workload_kind: "stability"
    outcome {{ kind: COMPLETED message: "6 cycles in 1m 30s" }}
    create_time {{ seconds: 1772620000 }}
    start_time {{ seconds: 1772620001 }}
    end_time {{ seconds: 1772620101 }}
    attempts {{
      attempt: 1
      start_time {{ seconds: 1772620001 }}
      end_time {{ seconds: 1772620055 }}
      result {{
        outcome {{ kind: WORKER_CRASHED message: "the agent ended in mid-run" }} {}
      }}
    }}
    attempts {{
      attempt: 2
      start_time {{ seconds: 1772620056 }}
      end_time {{ seconds: 1772620101 }}
      result {{
        outcome {{ kind: COMPLETED message: "6 cycles in 1m 30s" }}
        validity {{ valid: true }} {}
      }}
    }}
  )",
                     first, second);
}

}  // namespace

storage::WriteBatch RecordedLoads() {
  const auto job = [](const std::string& text) { return storage::PutJob{.job = Parse<v1::Job>(text + kModels)}; };
  const auto run = [](const std::string& text) { return storage::PutRun{.run = Parse<v1::Run>(text)}; };
  const auto device = [](const char* id, const char* name, std::uint64_t bytes) {
    return storage::PutDevice{.device = Parse<v1::Device>(fmt::format(fmt::runtime(kDevice), id, name, bytes))};
  };
  return {
      device("d-000000000c", "mini-1", 1024 * kMiB),
      device("d-000000000d", "mini-2", 4096 * kMiB),
      job(R"pb(
        job_id: "j-0000000003"
        spec {
          workload {
            quantization {
              load { model_id: "pocket" loader: MMAP runtime: BUILTIN cache: COLD passes: 4 }
              quant_levels: "Q2_K"
              quant_levels: "Q4_K_M"
              quant_levels: "Q6_K"
              pressure { burst { target_percent: 30 } }
              loads_per_level: 2
            }
          }
        }
        state: FINISHED
        create_time { seconds: 1772610000 }
      )pb"),
      job(R"pb(
        job_id: "j-0000000004"
        spec {
          workload {
            stability {
              duration { seconds: 90 }
              load { model_id: "pocket" quant: "Q2_K" loader: MMAP runtime: BUILTIN cache: COLD passes: 4 }
            }
          }
        }
        state: FINISHED
        create_time { seconds: 1772620000 }
      )pb"),
      run(QuantizationRun(
          "j-0000000003.1", "d-000000000c",
          {{"Q4_K_M", 450 * kMiB, 0.5, 2}, {"Q2_K", 300 * kMiB, 0.5, 3}, {"Q6_K", 650 * kMiB, 0.5, 4, false}})),
      run(QuantizationRun(
          "j-0000000003.2", "d-000000000d",
          {{"Q4_K_M", 450 * kMiB, 0.5, 2}, {"Q2_K", 300 * kMiB, 0.5, 1}, {"Q6_K", 650 * kMiB, 0.5, 3}})),
      run(SoakRun()),
  };
}

}  // namespace ballast::report

#include "worker/model/builtin_load.h"

#include <chrono>
#include <memory>
#include <string>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "common/base/clock.h"
#include "common/base/status.h"
#include "common/base/thread_team.h"
#include "common/base/units.h"
#include "common/gguf/model_file.h"
#include "worker/model/threads.h"
#include "worker/model/weight_memory.h"
#include "worker/model/weight_pass.h"

namespace ballast::model {
namespace {

using std::chrono::nanoseconds;

absl::StatusOr<gguf::ModelFile> Parse(const v1::LoadTask& task, LoadLog* log) {
  log->BeginStage();
  BALLAST_ASSIGN_OR_RETURN(gguf::ModelFile model, gguf::ReadModelFile(task.paths(0)));
  if (model.parts.size() != static_cast<std::size_t>(task.paths_size())) {
    return absl::InvalidArgumentError(
        fmt::format("{} is one of {} files of a model, and {} are given; give all of them, named as they came",
                    task.paths(0), model.parts.size(), task.paths_size()));
  }
  log->result()->set_file_bytes(model.file_size_bytes);
  log->result()->set_weight_bytes(model.tensor_bytes);
  log->EndStage(v1::LoadStage::PARSE, 0);
  return model;
}

// Uses the weights again, as often and as long as the load says. Returns how many times.
absl::StatusOr<std::uint32_t> UseAgain(const v1::ModelLoad& load, std::uint64_t checksum, WeightPass* pass,
                                       LoadLog* log, const std::stop_token& stop) {
  const nanoseconds use = base::FromProto(load.use_duration());
  std::uint32_t passes = 0;
  log->BeginPhase(v1::Phase::INFER);
  log->BeginStage();
  while (passes < load.passes() || log->meter()->SinceBegin() < use) {
    BALLAST_ASSIGN_OR_RETURN(const std::uint64_t sum, pass->Run(stop));
    ++passes;
    if (sum != checksum) {
      return absl::DataLossError(fmt::format(
          "pass {} over the weights gave the checksum {:016x}, the first one {:016x}: the file was changed under the "
          "load, or memory or disk of this device are faulty",
          passes + 1, sum, checksum));
    }
  }
  log->EndStage(v1::LoadStage::PASSES, passes * pass->weight_bytes(), passes);
  return passes;
}

}  // namespace

absl::StatusOr<std::string> LoadWithBuiltin(const v1::LoadTask& task, LoadLog* log, const std::stop_token& stop) {
  const v1::ModelLoad& load = task.load();
  const unsigned threads = ThreadsOf(load);
  log->result()->set_threads(threads);
  BALLAST_ASSIGN_OR_RETURN(const gguf::ModelFile model, Parse(task, log));
  BALLAST_ASSIGN_OR_RETURN(const std::unique_ptr<base::ThreadTeam> team,
                           base::ThreadTeam::Start(threads, "use weights"));

  log->BeginStage();
  BALLAST_ASSIGN_OR_RETURN(
      const std::unique_ptr<WeightMemory> memory,
      WeightMemory::Load(model, {.loader = load.loader(), .lock = load.lock(), .readers = ReadersOf(threads)}, stop));
  const nanoseconds load_time = log->EndStage(v1::LoadStage::LOAD, model.tensor_bytes);

  WeightPass pass(model, *memory, team.get());
  if (!pass.undequantised_types().empty()) {
    log->AddRemark(fmt::format("weights of type {} were summed as they lie in the file",
                               fmt::join(pass.undequantised_types(), ", ")));
  }
  log->BeginStage();
  BALLAST_ASSIGN_OR_RETURN(const std::uint64_t checksum, pass.Run(stop));
  const nanoseconds pass_time = log->EndStage(v1::LoadStage::FIRST_PASS, pass.weight_bytes());
  log->result()->set_checksum(checksum);

  std::uint32_t passes = 0;
  if (load.passes() > 0 || base::FromProto(load.use_duration()) > nanoseconds::zero()) {
    BALLAST_ASSIGN_OR_RETURN(passes, UseAgain(load, checksum, &pass, log, stop));
  }
  return fmt::format("loaded {} of weights in {}, used them a first time in {} and {} times more",
                     base::FormatBytes(model.tensor_bytes), base::FormatDuration(load_time),
                     base::FormatDuration(pass_time), passes);
}

}  // namespace ballast::model

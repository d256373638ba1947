#include "worker/model/load_execution.h"

#include <filesystem>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/base/status.h"
#include "worker/model/builtin_load.h"
#include "worker/model/llama_load.h"
#include "worker/model/load_log.h"
#include "worker/model/page_cache.h"

namespace ballast::model {
namespace {

absl::Status Prepare(const v1::LoadTask& task, LoadLog* log, const std::stop_token& stop) {
  log->BeginPhase(v1::Phase::PREPARE);
  const std::vector<std::filesystem::path> files(task.paths().begin(), task.paths().end());
  BALLAST_ASSIGN_OR_RETURN(const CacheFinding finding, PrepareCache(files, task.load().cache(), stop));
  log->result()->set_found_cache(finding.state);
  if (finding.pages) log->result()->set_cached_percent(finding.pages->percent());
  log->AddRemark(finding.remark);
  return absl::OkStatus();
}

}  // namespace

v1::RunnerFinished ExecuteLoad(const v1::LoadTask& task, std::chrono::nanoseconds attempt_start, LoadObserver* observer,
                               const std::stop_token& stop) {
  LoadLog log(task, attempt_start, observer);
  if (task.paths().empty()) return log.Refuse("a load without a file; name the files of the model");
  if (const absl::Status prepared = Prepare(task, &log, stop); !prepared.ok()) return log.Fail(prepared);
  log.BeginPhase(v1::Phase::LOAD);
  const absl::StatusOr<std::string> loaded = task.load().runtime() == v1::ModelLoad::LLAMA_CPP
                                                 ? LoadWithLlama(task, &log, stop)
                                                 : LoadWithBuiltin(task, &log, stop);
  return loaded.ok() ? log.Complete(*loaded) : log.Fail(loaded.status());
}

}  // namespace ballast::model

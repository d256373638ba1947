#include "worker/model/llama_load.h"

#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/status.h"
#include "common/base/units.h"
#include "common/gguf/model_file.h"
#include "common/os/cgroup.h"
#include "common/os/procfs.h"
#include "worker/model/llama_options.h"
#include "worker/model/llama_server.h"
#include "worker/model/threads.h"

namespace ballast::model {
namespace {

using std::chrono::nanoseconds;

constexpr std::string_view kUsualProgram = "llama-server";
constexpr unsigned kPromptTokens = 32;
// Tokens of one request: after so many a stop, and the end of the time, are heard without breaking one off.
constexpr std::uint32_t kTokensPerRequest = 32;
// Part of the weights that must be locked for a lock to count: a runtime leaves some small ones out.
constexpr double kLockedPart = 0.9;

// What is known of the file without the runtime; a format that only the runtime understands is no failure.
void Describe(const v1::LoadTask& task, LoadLog* log) {
  log->BeginStage();
  const absl::StatusOr<gguf::ModelFile> model = gguf::ReadModelFile(task.paths(0));
  if (model.ok()) {
    log->result()->set_file_bytes(model->file_size_bytes);
    log->result()->set_weight_bytes(model->tensor_bytes);
    log->EndStage(v1::LoadStage::PARSE, 0);
    return;
  }
  std::uint64_t bytes = 0;
  for (const std::string& path : task.paths()) {
    std::error_code error;
    const std::uintmax_t size = std::filesystem::file_size(path, error);
    if (!error) bytes += size;
  }
  log->result()->set_file_bytes(bytes);
  log->AddRemark("the header of the file was left to llama.cpp: " + std::string(model.status().message()));
}

// OOM kills that the kernel has counted in this process's memory cgroup; nothing where it does not count.
std::optional<std::uint64_t> CountOomKills() {
  const absl::StatusOr<os::CgroupLocation> location = os::LocateCgroups();
  if (!location.ok() || location->memory_directories.empty()) return std::nullopt;
  const absl::StatusOr<std::string> events = base::ReadFile(fmt::format(
      "{}/{}", location->memory_directories.front(), os::MemoryFilesOf(location->memory_version).oom_events));
  return events.ok() ? os::FindKeyedNumber(*events, "oom_kill") : std::nullopt;
}

// The first line of `--version` that has one, such as `version: 4748 (ee02ad02)`.
std::string VersionOf(std::string_view output) {
  const std::size_t begin = output.find("version:");
  if (begin == std::string_view::npos) return std::string(kUsualProgram);
  const std::string_view line = output.substr(begin, output.find('\n', begin) - begin);
  return fmt::format("{} {:.100}", kUsualProgram, line);
}

google::protobuf::Value Number(double number) {
  google::protobuf::Value value;
  value.set_number_value(number);
  return value;
}

google::protobuf::Value Bool(bool yes) {
  google::protobuf::Value value;
  value.set_bool_value(yes);
  return value;
}

// The same tokens whatever the vocabulary, and as many generated as are asked for.
google::protobuf::Struct Prompt(std::uint32_t tokens_to_generate, std::uint32_t context_tokens) {
  google::protobuf::Struct request;
  auto& fields = *request.mutable_fields();
  auto* const prompt = fields["prompt"].mutable_list_value();
  for (unsigned token = 1; token <= std::min(kPromptTokens, context_tokens / 4); ++token) {
    *prompt->add_values() = Number(token);
  }
  fields["n_predict"] = Number(tokens_to_generate);
  fields["temperature"] = Number(0);
  fields["ignore_eos"] = Bool(true);
  // What the prompt left in the context is used again: only generated tokens cost.
  fields["cache_prompt"] = Bool(true);
  fields["stream"] = Bool(false);
  return request;
}

// What a request took, as the server says.
struct Timings {
  double prompt_tokens = 0;
  double prompt_ms = 0;
  double generated_tokens = 0;
  double generated_ms = 0;
};

absl::StatusOr<Timings> TimingsOf(const google::protobuf::Struct& answer) {
  const auto timings = answer.fields().find("timings");
  if (timings == answer.fields().end()) {
    return absl::InternalError("this version of llama-server does not tell timings; install one that does");
  }
  const auto& fields = timings->second.struct_value().fields();
  const auto number = [&fields](const char* name) {
    const auto found = fields.find(name);
    return found == fields.end() ? 0.0 : std::max(found->second.number_value(), 0.0);
  };
  return Timings{.prompt_tokens = number("prompt_n"),
                 .prompt_ms = number("prompt_ms"),
                 .generated_tokens = number("predicted_n"),
                 .generated_ms = number("predicted_ms")};
}

double PerSecond(double count, double ms) {
  return ms > 0 ? count / ms * 1000 : 0;
}

// llama.cpp goes on when the kernel refuses a lock.
absl::Status CheckLock(pid_t server, std::uint64_t weight_bytes) {
  const absl::StatusOr<std::string> content = base::ReadFile(fmt::format("/proc/{}/status", server));
  const std::uint64_t locked = content.ok() ? os::ParseProcessStatus(*content).locked.value_or(0) : 0;
  if (static_cast<double>(locked) >= kLockedPart * static_cast<double>(weight_bytes) && locked > 0) {
    return absl::OkStatus();
  }
  rlimit limit{};
  ::getrlimit(RLIMIT_MEMLOCK, &limit);
  return absl::ResourceExhaustedError(
      fmt::format("llama-server has locked {} of {} of weights (RLIMIT_MEMLOCK is {}); give the worker CAP_IPC_LOCK, "
                  "raise the limit "
                  "(ulimit -l, LimitMEMLOCK= of its service), or leave out the lock",
                  base::FormatBytes(locked), base::FormatBytes(weight_bytes),
                  limit.rlim_cur == RLIM_INFINITY ? "unlimited" : base::FormatBytes(limit.rlim_cur)));
}

// The stages with a server that runs.
class LlamaStages {
 public:
  LlamaStages(const v1::ModelLoad& load, LlamaServer* server, LoadLog* log)
      : load_(load), server_(server), log_(log), figures_(log->result()->mutable_runtime_figures()) {
    deadline_ = base::RealClock().Monotonic() + base::FromProto(load.timeout());
  }

  absl::StatusOr<std::string> Run() {
    const std::uint64_t weight_bytes = log_->result()->weight_bytes();
    BALLAST_RETURN_IF_ERROR(server_->WaitUntilLoaded(deadline_));
    const nanoseconds load_time = log_->EndStage(v1::LoadStage::LOAD, weight_bytes);
    if (load_.lock()) BALLAST_RETURN_IF_ERROR(CheckLock(server_->pid(), weight_bytes));

    log_->BeginStage();
    BALLAST_ASSIGN_OR_RETURN(const Timings first, Ask(1));
    const nanoseconds prompt_time = log_->EndStage(v1::LoadStage::FIRST_PASS, weight_bytes);
    figures_->set_prompt_tokens(static_cast<std::uint32_t>(first.prompt_tokens));
    figures_->set_prompt_tokens_per_second(PerSecond(first.prompt_tokens, first.prompt_ms));
    BALLAST_RETURN_IF_ERROR(Generate());
    return fmt::format(
        "llama.cpp loaded {} of weights in {}, took in a prompt of {} tokens in {} and generated {} more",
        base::FormatBytes(weight_bytes), base::FormatDuration(load_time), figures_->prompt_tokens(),
        base::FormatDuration(prompt_time), figures_->generated_tokens());
  }

 private:
  absl::StatusOr<Timings> Ask(std::uint32_t tokens) {
    BALLAST_ASSIGN_OR_RETURN(const google::protobuf::Struct answer,
                             server_->Complete(Prompt(tokens, load_.context_tokens()), deadline_));
    return TimingsOf(answer);
  }

  absl::Status Generate() {
    const nanoseconds use = base::FromProto(load_.use_duration());
    if (load_.passes() == 0 && use <= nanoseconds::zero()) return absl::OkStatus();
    std::uint32_t tokens = 0;
    double ms = 0;
    log_->BeginPhase(v1::Phase::INFER);
    log_->BeginStage();
    while (tokens < load_.passes() || log_->meter()->SinceBegin() < use) {
      const std::uint32_t left = load_.passes() > tokens ? load_.passes() - tokens : kTokensPerRequest;
      const std::uint32_t most = std::min(kTokensPerRequest, load_.context_tokens() / 2);
      BALLAST_ASSIGN_OR_RETURN(const Timings timings, Ask(std::min(left, most)));
      if (timings.generated_tokens < 1) {
        return absl::InternalError("llama-server generated nothing; does the model fit this version?");
      }
      tokens += static_cast<std::uint32_t>(timings.generated_tokens);
      ms += timings.generated_ms;
    }
    log_->EndStage(v1::LoadStage::PASSES, log_->result()->weight_bytes() * tokens, tokens);
    figures_->set_generated_tokens(tokens);
    figures_->set_generated_tokens_per_second(PerSecond(tokens, ms));
    return absl::OkStatus();
  }

  const v1::ModelLoad& load_;
  LlamaServer* server_;
  LoadLog* log_;
  v1::RuntimeFigures* figures_;
  nanoseconds deadline_;
};

}  // namespace

absl::StatusOr<std::string> LoadWithLlama(const v1::LoadTask& task, LoadLog* log, const std::stop_token& stop) {
  const v1::ModelLoad& load = task.load();
  const std::string program = task.runtime_program().empty() ? std::string(kUsualProgram) : task.runtime_program();
  const unsigned threads = ThreadsOf(load);
  log->result()->set_threads(threads);
  Describe(task, log);
  BALLAST_ASSIGN_OR_RETURN(const std::string help, OutputOf(program, "--help", stop));
  BALLAST_ASSIGN_OR_RETURN(const std::string version, OutputOf(program, "--version", stop));
  log->result()->mutable_runtime_figures()->set_version(VersionOf(version));
  BALLAST_ASSIGN_OR_RETURN(const std::uint16_t port, FreeLoopbackPort());
  BALLAST_ASSIGN_OR_RETURN(const LlamaArguments plan,
                           PlanLlamaServer(LlamaFlags(help), load, threads, task.paths(0), port));
  for (const std::string& remark : plan.remarks) log->result()->mutable_runtime_figures()->add_remarks(remark);

  const std::optional<std::uint64_t> kills_before = CountOomKills();
  log->BeginStage();
  BALLAST_ASSIGN_OR_RETURN(const std::unique_ptr<LlamaServer> server,
                           LlamaServer::Start(program, plan.arguments, port, stop));
  log->AddRuntime(server->pid());
  absl::StatusOr<std::string> message = LlamaStages(load, server.get(), log).Run();
  // Only this process sees how its child ended. Where the cgroup does not die as a whole, the kernel takes the server
  // alone.
  if (!message.ok() && server->ended() && server->ended()->signal == SIGKILL && kills_before &&
      CountOomKills().value_or(0) > *kills_before) {
    return absl::AbortedError(
        fmt::format("the kernel's OOM killer ended llama-server: {}", std::string(message.status().message())));
  }
  return message;
}

}  // namespace ballast::model

#include "worker/model/llama_options.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "common/base/status.h"

namespace ballast::model {
namespace {

absl::Status Unable(std::string_view what, std::string_view instead) {
  return absl::FailedPreconditionError(
      fmt::format("this version of llama-server cannot {}; install a newer one, or {}", what, instead));
}

// How the weights come into memory, and whether they are locked: one flag with a value in newer versions, several in
// older ones.
absl::Status AddLoader(const LlamaFlags& flags, const v1::ModelLoad& load, std::vector<std::string>* arguments) {
  const bool has_modes = flags.Has("--load-mode");
  const bool reads = load.loader() == v1::ModelLoad::READ;
  const bool direct = load.loader() == v1::ModelLoad::DIRECT;
  std::string mode = "mmap";  // populated by itself
  if (reads) mode = "none";
  if (direct) mode = "dio";
  if (load.lock()) {
    if (flags.Has("--mlock")) {
      arguments->emplace_back("--mlock");
    } else if (has_modes && !reads && !direct) {
      mode = "mlock";
    } else {
      return Unable(has_modes ? "lock weights that are not mapped" : "lock weights", "leave out the lock");
    }
  }
  if (has_modes) {
    arguments->insert(arguments->end(), {"--load-mode", mode});
    return absl::OkStatus();
  }
  if (direct) {
    if (!flags.Has("--direct-io")) return Unable("read past the page cache", "choose another loader");
    arguments->emplace_back("--direct-io");
  }
  if (reads) {
    if (!flags.Has("--no-mmap")) return Unable("read weights instead of mapping them", "choose the loader mmap");
    arguments->emplace_back("--no-mmap");
  }
  return absl::OkStatus();
}

}  // namespace

LlamaFlags::LlamaFlags(std::string_view help) {
  constexpr std::string_view kEnds = " \t\r\n,=[]()|'\"`.:;";
  while (!help.empty()) {
    const std::size_t end = std::min(help.find_first_of(kEnds), help.size());
    if (end > 1 && help.front() == '-') flags_.emplace_back(help.substr(0, end));
    help.remove_prefix(std::min(end + 1, help.size()));
  }
}

bool LlamaFlags::Has(std::string_view flag) const {
  return std::ranges::find(flags_, flag) != flags_.end();
}

absl::StatusOr<LlamaArguments> PlanLlamaServer(const LlamaFlags& flags, const v1::ModelLoad& load, unsigned threads,
                                               const std::string& file, std::uint16_t port) {
  LlamaArguments plan;
  plan.arguments = {"-m",     file,
                    "--host", "127.0.0.1",
                    "--port", fmt::format("{}", port),
                    "-t",     fmt::format("{}", threads),
                    "-c",     fmt::format("{}", load.context_tokens())};
  // One request at a time; nothing from the network, no page for people.
  if (flags.Has("-np")) plan.arguments.insert(plan.arguments.end(), {"-np", "1"});
  for (const std::string_view flag : {"--offline", "--no-webui"}) {
    if (flags.Has(flag)) plan.arguments.emplace_back(flag);
  }
  if (flags.Has("--no-warmup")) {
    plan.arguments.emplace_back("--no-warmup");
  } else {
    plan.remarks.emplace_back("this version uses the weights once while it loads, which counts as loading");
  }
  BALLAST_RETURN_IF_ERROR(AddLoader(flags, load, &plan.arguments));
  if (load.no_repack()) {
    if (flags.Has("--no-repack")) {
      plan.arguments.emplace_back("--no-repack");
    } else {
      plan.remarks.emplace_back(
          "this version cannot be told to leave the weights as they are (--no-repack): some may have been copied into "
          "anonymous memory");
    }
  }
  return plan;
}

}  // namespace ballast::model

#include "cli/model_flags.h"

#include <array>
#include <string_view>

#include <fmt/format.h>

#include "cli/error_text.h"
#include "cli/job_flags.h"
#include "cli/load_words.h"
#include "common/base/status.h"

namespace ballast::cli {
namespace {

// One flag and the field of ModelLoad that it sets.
struct LoadFlag {
  const char* name;
  const char* type;  // null for a switch
  const char* field;
  const char* example;
  const char* help;
};

constexpr char kQuantFlag[] = "--quant";
constexpr char kLoaderFlag[] = "--loader";
constexpr char kRuntimeFlag[] = "--runtime";
constexpr char kCacheFlag[] = "--cache";

constexpr std::array kLoadFlags = {
    LoadFlag{"--model-id", "ID", "model_id", "tiny",
             "The model, by its identifier in the catalogue (ballast models list)"},
    LoadFlag{kQuantFlag, "LEVEL", "quant", "Q4_K_M", "Quantisation level (default: the catalogue's first)"},
    LoadFlag{kLoaderFlag, "HOW", "loader", "mmap", "mmap, mmap+populate, read or direct (default mmap)"},
    LoadFlag{kRuntimeFlag, "WHAT", "runtime", "builtin", "builtin, or llama.cpp (default builtin)"},
    LoadFlag{"--lock", nullptr, "lock", "", "Lock the weights in memory"},
    LoadFlag{kCacheFlag, "STATE", "cache", "cold", "Page cache before each load: cold, warm or as_is (default cold)"},
    LoadFlag{"--threads", "N", "threads", "2", "Threads that use the weights (default: one less than processors)"},
    LoadFlag{"--passes", "N", "passes", "2", "Full passes over the weights after the first (default 2)"},
    LoadFlag{"--test-duration", "TIME", "use_duration", "120", "Use the model for at least this long (default 0)"},
    LoadFlag{"--load-timeout", "TIME", "timeout", "10m", "Longest time of one load and its use (default 10m)"},
    LoadFlag{"--no-repack", nullptr, "no_repack", "", "llama.cpp: leave the weights as they are in the file"},
    LoadFlag{"--context", "TOKENS", "context_tokens", "512", "llama.cpp: tokens of context (default 512)"},
    LoadFlag{"--force", nullptr, "force", "", "Load although, by estimate, the device cannot hold it"},
};

// The value as the schema has it.
absl::StatusOr<std::string> FieldText(const std::string& flag, const std::string& text) {
  if (flag == kLoaderFlag) {
    BALLAST_ASSIGN_OR_RETURN(const v1::ModelLoad::Loader loader, ParseLoader(text));
    return v1::ModelLoad::Loader_Name(loader);
  }
  if (flag == kRuntimeFlag) {
    BALLAST_ASSIGN_OR_RETURN(const v1::ModelLoad::Runtime runtime, ParseRuntime(text));
    return v1::ModelLoad::Runtime_Name(runtime);
  }
  if (flag == kCacheFlag) {
    BALLAST_ASSIGN_OR_RETURN(const v1::CacheState cache, ParseCache(text));
    return v1::CacheState_Name(cache);
  }
  return text;
}

}  // namespace

void AddModelFlags(CLI::App* command, bool with_quant, ModelFlags* flags) {
  for (const LoadFlag& flag : kLoadFlags) {
    const std::string name = flag.name;
    if (name == kQuantFlag && !with_quant) continue;
    if (flag.type == nullptr) {
      command
          ->add_flag_callback(
              name, [flags, name] { flags->values[name] = "true"; }, flag.help)
          ->group("Model");
      continue;
    }
    command
        ->add_option_function<std::string>(
            name, [flags, name](const std::string& text) { flags->values[name] = text; }, flag.help)
        ->type_name(flag.type)
        ->group("Model");
  }
  // Of the pressure these are left out: here they are the model's.
  AddPressureFlags(command, &flags->pressure, {"--lock", "--threads"});
}

absl::Status FillModelLoad(const ModelFlags& flags, const std::string& path, v1::JobSpec* spec) {
  if (!flags.values.contains("--model-id")) {
    return WithNextStep(absl::InvalidArgumentError("--model-id is missing: which model is to be loaded?"),
                        "--model-id tiny; ballast models list shows what there is");
  }
  for (const LoadFlag& flag : kLoadFlags) {
    const auto value = flags.values.find(flag.name);
    if (value == flags.values.end()) continue;
    if (value->second.empty()) {
      return WithNextStep(absl::InvalidArgumentError(fmt::format("{}: the value is empty", flag.name)),
                          fmt::format("{} {}", flag.name, flag.example));
    }
    BALLAST_ASSIGN_OR_RETURN(const std::string text, FieldText(flag.name, value->second));
    BALLAST_RETURN_IF_ERROR(SetFromFlag(flag.name, fmt::format("{}.{}", path, flag.field), text, flag.example, spec));
  }
  const auto runtime = flags.values.find(kRuntimeFlag);
  return CheckRuntimeFlags(
      runtime == flags.values.end() ? v1::ModelLoad::BUILTIN : ParseRuntime(runtime->second).value(),
      flags.values.contains("--no-repack"), flags.values.contains("--context"));
}

}  // namespace ballast::cli

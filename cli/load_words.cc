#include "cli/load_words.h"

#include <array>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "cli/error_text.h"
#include "cli/key_value.h"
#include "common/base/text.h"
#include "common/config/field_text.h"

namespace ballast::cli {
namespace {

using Load = v1::ModelLoad;

template <typename Value>
using Word = std::pair<Value, const char*>;

constexpr std::array kLoaders = {Word<Load::Loader>{Load::MMAP, "mmap"},
                                 Word<Load::Loader>{Load::MMAP_POPULATE, "mmap+populate"},
                                 Word<Load::Loader>{Load::READ, "read"}, Word<Load::Loader>{Load::DIRECT, "direct"}};
constexpr std::array kRuntimes = {Word<Load::Runtime>{Load::BUILTIN, "builtin"},
                                  Word<Load::Runtime>{Load::LLAMA_CPP, "llama.cpp"}};
constexpr std::array kCaches = {Word<v1::CacheState>{v1::COLD, "cold"}, Word<v1::CacheState>{v1::WARM, "warm"},
                                Word<v1::CacheState>{v1::AS_IS, "as_is"}};

template <typename Words, typename Value>
std::string Find(const Words& words, Value value) {
  for (const auto& [known, word] : words) {
    if (known == value) return word;
  }
  return {};
}

template <typename Words>
auto Parse(const char* flag, const std::string& text, const Words& words)
    -> absl::StatusOr<typename Words::value_type::first_type> {
  std::vector<std::string> names;
  for (const auto& [value, word] : words) {
    if (EnumStyle(text) == EnumStyle(word)) return value;
    names.emplace_back(word);
  }
  const std::string near = config::DidYouMean(text, names);
  return WithNextStep(absl::InvalidArgumentError(fmt::format("{}: {} is not one of its values{}", flag,
                                                             base::Quoted(text), near.empty() ? "" : "; " + near)),
                      fmt::format("one of {}", fmt::join(names, ", ")));
}

}  // namespace

std::string LoaderWord(Load::Loader loader) {
  return Find(kLoaders, loader);
}

std::string RuntimeWord(Load::Runtime runtime) {
  return Find(kRuntimes, runtime);
}

absl::StatusOr<Load::Loader> ParseLoader(const std::string& text) {
  return Parse("--loader", text, kLoaders);
}

absl::StatusOr<Load::Runtime> ParseRuntime(const std::string& text) {
  return Parse("--runtime", text, kRuntimes);
}

absl::StatusOr<v1::CacheState> ParseCache(const std::string& text) {
  return Parse("--cache", text, kCaches);
}

absl::Status CheckRuntimeFlags(Load::Runtime runtime, bool no_repack, bool context) {
  if (runtime == Load::LLAMA_CPP || (!no_repack && !context)) return absl::OkStatus();
  return WithNextStep(absl::InvalidArgumentError(fmt::format("{} has no meaning for the built-in loader",
                                                             no_repack ? "--no-repack" : "--context")),
                      "--runtime llama.cpp");
}

}  // namespace ballast::cli

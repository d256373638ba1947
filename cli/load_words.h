// How people write the ways to load a model: `mmap+populate`, `llama.cpp`. JSON and CSV have the names of the schema.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "ballast/v1/workload.pb.h"

namespace ballast::cli {

[[nodiscard]] std::string LoaderWord(v1::ModelLoad::Loader loader);
[[nodiscard]] std::string RuntimeWord(v1::ModelLoad::Runtime runtime);

// What --loader and --runtime name, in these words or in those of the schema, whatever the case. INVALID_ARGUMENT with
// the flag and the nearest words.
[[nodiscard]] absl::StatusOr<v1::ModelLoad::Loader> ParseLoader(const std::string& text);
[[nodiscard]] absl::StatusOr<v1::ModelLoad::Runtime> ParseRuntime(const std::string& text);

// What --cache names: cold, warm or as_is.
[[nodiscard]] absl::StatusOr<v1::CacheState> ParseCache(const std::string& text);

// Refuses flags of llama.cpp where the built-in loader loads. Unset means built-in.
[[nodiscard]] absl::Status CheckRuntimeFlags(v1::ModelLoad::Runtime runtime, bool no_repack, bool context);

}  // namespace ballast::cli

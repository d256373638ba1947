// How llama.cpp's server is told to load a model: its flags differ from version to version.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "ballast/v1/workload.pb.h"

namespace ballast::model {

// What a version can do, by the text of its `--help`.
class LlamaFlags {
 public:
  explicit LlamaFlags(std::string_view help);

  // Whether there is such a flag (`--mlock`), as a word of its own.
  [[nodiscard]] bool Has(std::string_view flag) const;

 private:
  std::vector<std::string> flags_;
};

struct LlamaArguments {
  std::vector<std::string> arguments;  // without the program
  std::vector<std::string> remarks;    // what was asked for and cannot be done, one sentence each
};

// The arguments that make a version load `file` as the load says, listening at 127.0.0.1:`port`. What changes only
// figures becomes a remark; FAILED_PRECONDITION where the load would be another one than was asked for (a lock, a
// reading past the page cache that this version does not have).
[[nodiscard]] absl::StatusOr<LlamaArguments> PlanLlamaServer(const LlamaFlags& flags, const v1::ModelLoad& load,
                                                             unsigned threads, const std::string& file,
                                                             std::uint16_t port);

}  // namespace ballast::model

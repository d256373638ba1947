// docker or podman as a program that is called.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/child_process.h"
#include "common/base/interruption.h"
#include "common/environment/container.h"

namespace ballast::containers {

// What a call left.
struct EngineAnswer {
  base::ExitStatus status;
  std::string out;
  std::string err;

  [[nodiscard]] bool ok() const { return status == base::ExitStatus{}; }
};

// Calls one engine. Its children are in the process group of this program, so that they may use the terminal. What is
// attached ends with the thread that attached it.
class ContainerEngine {
 public:
  // Looks for the program on `search_path`, the value of PATH. FAILED_PRECONDITION, with what to install, where it is
  // missing. `interruption` outlives the engine.
  [[nodiscard]] static absl::StatusOr<ContainerEngine> Find(profiles::Engine engine, std::string_view search_path,
                                                            base::Interruption* interruption);

  [[nodiscard]] base::Interruption& interruption() const { return *interruption_; }
  [[nodiscard]] profiles::Engine kind() const { return kind_; }
  [[nodiscard]] std::string name() const { return std::string(profiles::EngineName(kind_)); }

  // Calls it and keeps what it says. Blocks until it has ended, whatever it answers. CANCELLED on an interrupt, which
  // ends it; INTERNAL where it cannot be started.
  [[nodiscard]] absl::StatusOr<EngineAnswer> Call(const std::vector<std::string>& arguments) const;

  // The same in another directory: what starts processes that stay leaves their files there.
  [[nodiscard]] absl::StatusOr<EngineAnswer> CallIn(const std::filesystem::path& directory,
                                                    const std::vector<std::string>& arguments) const;

  // The same, not to be interrupted: for clearing up.
  [[nodiscard]] absl::StatusOr<EngineAnswer> CallToTheEnd(const std::vector<std::string>& arguments) const;

  // Starts it with this program's own standard streams. It is told to end when this program dies.
  [[nodiscard]] absl::StatusOr<base::ChildProcess> Attach(const std::vector<std::string>& arguments) const;

  // What it said of a call that failed, as an error: FAILED_PRECONDITION with its words and what may help. `what` is
  // what was tried, for instance `make a container`.
  [[nodiscard]] absl::Status Failure(const std::string& what, const EngineAnswer& answer) const;

 private:
  ContainerEngine(profiles::Engine kind, std::filesystem::path program, base::Interruption* interruption)
      : kind_(kind), program_(std::move(program)), interruption_(interruption) {}

  [[nodiscard]] absl::StatusOr<EngineAnswer> Call(const std::vector<std::string>& arguments, bool to_the_end,
                                                  const std::filesystem::path& directory) const;

  profiles::Engine kind_;
  std::filesystem::path program_;
  base::Interruption* interruption_;
};

}  // namespace ballast::containers

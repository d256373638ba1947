// llama.cpp's server as a child of the runner.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/child_process.h"
#include "common/base/fd.h"
#include "google/protobuf/struct.pb.h"

namespace ballast::model {

// The last of what a process wrote, for the message of its end.
class OutputTail {
 public:
  void Append(std::string_view text);
  // The last lines that say something, in one line; empty where there are none.
  [[nodiscard]] std::string LastLines() const;

 private:
  std::string text_;
};

// What `program --flag` prints, on either output. NOT_FOUND where there is no such program; DEADLINE_EXCEEDED;
// CANCELLED.
[[nodiscard]] absl::StatusOr<std::string> OutputOf(const std::string& program, const std::string& flag,
                                                   const std::stop_token& stop);

// A port of the loopback interface that is free now.
[[nodiscard]] absl::StatusOr<std::uint16_t> FreeLoopbackPort();

// Owns the server, which is in this process's own group and cgroups and dies with the thread that started it.
// Destruction kills it. Every wait ends at once when the server ends, on a stop, and at its deadline, and takes
// meanwhile what the server writes. Not thread-safe.
class LlamaServer {
 public:
  // `arguments` make it listen at 127.0.0.1:`port`. Codes of base::ChildProcess::Start.
  [[nodiscard]] static absl::StatusOr<std::unique_ptr<LlamaServer>> Start(const std::string& program,
                                                                          const std::vector<std::string>& arguments,
                                                                          std::uint16_t port,
                                                                          const std::stop_token& stop);
  LlamaServer(const LlamaServer&) = delete;
  LlamaServer& operator=(const LlamaServer&) = delete;

  [[nodiscard]] pid_t pid() const { return child_.pid(); }

  // Waits until the model is loaded (`/health` says 200). FAILED_PRECONDITION where the server ended before, with how
  // it ended and its last words; DEADLINE_EXCEEDED; CANCELLED; INTERNAL for an answer that makes no sense.
  [[nodiscard]] absl::Status WaitUntilLoaded(std::chrono::nanoseconds deadline);

  // `/completion`: the answer. Codes as before.
  [[nodiscard]] absl::StatusOr<google::protobuf::Struct> Complete(const google::protobuf::Struct& request,
                                                                  std::chrono::nanoseconds deadline);

  // How the server ended, where it did before it was told to.
  [[nodiscard]] const std::optional<base::ExitStatus>& ended() const { return ended_; }

 private:
  struct Response {
    int status = 0;
    std::string body;
  };

  explicit LlamaServer(std::uint16_t port) : port_(port) {}

  [[nodiscard]] absl::StatusOr<base::Fd> Connect(std::chrono::nanoseconds deadline);
  [[nodiscard]] absl::StatusOr<Response> Request(std::string_view method, std::string_view path, std::string_view body,
                                                 std::chrono::nanoseconds deadline);
  // Waits until the socket is ready for `events`; for nothing but the end of time where `fd` is -1.
  [[nodiscard]] absl::Status Await(int fd, short events, std::chrono::nanoseconds deadline);
  void TakeOutput();
  // `; its last words: …`; empty where it had none.
  [[nodiscard]] std::string LastWords() const;
  absl::Status Ended();

  std::uint16_t port_;
  base::ChildProcess child_;
  base::Fd output_;
  base::Fd stop_event_;
  std::optional<std::stop_callback<std::function<void()>>> on_stop_;
  OutputTail tail_;
  std::optional<base::ExitStatus> ended_;
};

}  // namespace ballast::model

#include "worker/model/llama_server.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <functional>
#include <utility>

#include <fmt/format.h>

#include "common/base/clock.h"
#include "common/base/status.h"
#include "google/protobuf/util/json_util.h"
#include "worker/model/http_message.h"

namespace ballast::model {
namespace {

using std::chrono::nanoseconds;

constexpr nanoseconds kHealthInterval = std::chrono::milliseconds(10);
constexpr nanoseconds kProbeTime = std::chrono::seconds(20);
constexpr std::size_t kTailBytes = 4096;
constexpr std::size_t kTailLines = 3;
constexpr std::size_t kMaxProbeBytes = 1U << 20U;
constexpr int kOk = 200;
constexpr int kLoading = 503;

nanoseconds Now() {
  return base::RealClock().Monotonic();
}

// For poll(): rounded up, so that no wait ends just before its time.
int MillisecondsUntil(nanoseconds deadline) {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Now()).count();
  return static_cast<int>(std::clamp<std::int64_t>(left, 0, 3'600'000));
}

sockaddr_in Loopback(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

// A program whose output, both of them, comes out of the returned end.
struct StartedProgram {
  base::ChildProcess child;
  base::Fd output;
};

absl::StatusOr<StartedProgram> StartWithOutput(const std::vector<std::string>& argv) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return base::ErrnoStatus(errno, "pipe");
  StartedProgram started;
  started.output.Reset(ends[0]);
  const base::Fd input(ends[1]);
  ::fcntl(started.output.get(), F_SETFL, O_NONBLOCK);
  base::ChildOptions options;
  options.argv = argv;
  options.passed_fds = {{.from = input.get(), .to = 1}, {.from = input.get(), .to = 2}};
  // The agent ends the runner's whole group, and this with it.
  options.own_process_group = false;
  options.parent_death_signal = SIGKILL;
  absl::StatusOr<base::ChildProcess> child = base::ChildProcess::Start(options);
  if (absl::IsNotFound(child.status())) {
    return absl::NotFoundError(fmt::format(
        "{} is not installed on this device; install llama.cpp (its server is the program llama-server) so that the "
        "worker's PATH finds it, or give the program's path by llama_server: in the worker's configuration",
        argv[0]));
  }
  if (!child.ok()) return child.status();
  started.child = *std::move(child);
  return started;
}

// Appends what has arrived. False when no more will come.
template <typename Append>
bool TakeAvailable(int fd, const Append& append) {
  std::array<char, 4096> buffer{};
  while (true) {
    const ssize_t n = ::read(fd, buffer.data(), buffer.size());
    if (n == 0) return false;
    if (n < 0) return errno == EAGAIN || errno == EINTR;
    append(std::string_view(buffer.data(), static_cast<std::size_t>(n)));
  }
}

std::string HowItEnded(const base::ExitStatus& exit) {
  if (exit.signal != 0) return fmt::format("was ended by signal {} ({})", exit.signal, ::sigabbrev_np(exit.signal));
  return fmt::format("exited with code {}", exit.exit_code);
}

}  // namespace

void OutputTail::Append(std::string_view text) {
  text_ += text;
  if (text_.size() > 2 * kTailBytes) text_.erase(0, text_.size() - kTailBytes);
}

std::string OutputTail::LastLines() const {
  std::vector<std::string_view> lines;
  std::string_view rest = text_;
  while (!rest.empty() && lines.size() < kTailLines) {
    const std::size_t begin = rest.find_last_of('\n') + 1;  // 0 where there is none
    if (rest.find_first_not_of(" \t\r.", begin) != std::string_view::npos) lines.push_back(rest.substr(begin));
    rest = rest.substr(0, begin == 0 ? 0 : begin - 1);
  }
  std::string joined;
  for (auto line = lines.rbegin(); line != lines.rend(); ++line) {
    joined += joined.empty() ? "" : " | ";
    for (const char c : *line) joined += static_cast<unsigned char>(c) < ' ' ? ' ' : c;
  }
  return joined;
}

absl::StatusOr<std::string> OutputOf(const std::string& program, const std::string& flag, const std::stop_token& stop) {
  BALLAST_ASSIGN_OR_RETURN(StartedProgram started, StartWithOutput({program, flag}));
  const nanoseconds deadline = Now() + kProbeTime;
  std::string output;
  while (TakeAvailable(started.output.get(), [&output](std::string_view text) { output += text; })) {
    if (stop.stop_requested()) return absl::CancelledError("stopped while the runtime was asked for its version");
    if (Now() >= deadline || output.size() > kMaxProbeBytes) {
      return absl::DeadlineExceededError(
          fmt::format("`{} {}` did not come to an end within {} s; is it llama.cpp's server?", program, flag,
                      std::chrono::duration_cast<std::chrono::seconds>(kProbeTime).count()));
    }
    // Short, so that a stop is heard.
    pollfd readable{started.output.get(), POLLIN, 0};
    ::poll(&readable, 1, 100);
  }
  return output;
}

absl::StatusOr<std::uint16_t> FreeLoopbackPort() {
  const base::Fd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address = Loopback(0);
  socklen_t size = sizeof address;
  if (!socket.valid() || ::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      ::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    return base::ErrnoStatus(errno, "find a free port of the loopback interface");
  }
  return ntohs(address.sin_port);
}

absl::StatusOr<std::unique_ptr<LlamaServer>> LlamaServer::Start(const std::string& program,
                                                                const std::vector<std::string>& arguments,
                                                                std::uint16_t port, const std::stop_token& stop) {
  std::unique_ptr<LlamaServer> server(new LlamaServer(port));
  server->stop_event_.Reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!server->stop_event_.valid()) return base::ErrnoStatus(errno, "eventfd");
  server->on_stop_.emplace(stop, [fd = server->stop_event_.get()] {
    const std::uint64_t one = 1;
    [[maybe_unused]] const ssize_t ignored = ::write(fd, &one, sizeof one);
  });
  std::vector<std::string> argv = {program};
  argv.insert(argv.end(), arguments.begin(), arguments.end());
  BALLAST_ASSIGN_OR_RETURN(StartedProgram started, StartWithOutput(argv));
  server->child_ = std::move(started.child);
  server->output_ = std::move(started.output);
  return server;
}

absl::Status LlamaServer::WaitUntilLoaded(nanoseconds deadline) {
  while (true) {
    const absl::StatusOr<Response> health = Request("GET", "/health", "", deadline);
    // Until it listens it refuses.
    if (!health.ok() && !absl::IsUnavailable(health.status())) return health.status();
    if (health.ok() && health->status == kOk) return absl::OkStatus();
    if (health.ok() && health->status != kLoading) {
      return absl::InternalError(fmt::format("llama-server answered {} when it was asked whether it is ready: {:.200}",
                                             health->status, health->body));
    }
    const nanoseconds next = Now() + kHealthInterval;
    if (const absl::Status waited = Await(-1, 0, std::min(next, deadline)); !absl::IsDeadlineExceeded(waited)) {
      return waited;
    }
    if (Now() >= deadline) {
      return absl::DeadlineExceededError(fmt::format("llama-server did not become ready in time{}", LastWords()));
    }
  }
}

absl::StatusOr<google::protobuf::Struct> LlamaServer::Complete(const google::protobuf::Struct& request,
                                                               nanoseconds deadline) {
  std::string json;
  if (!google::protobuf::util::MessageToJsonString(request, &json).ok()) return absl::InternalError("write a request");
  absl::StatusOr<Response> response = Request("POST", "/completion", json, deadline);
  if (!response.ok()) return response.status();
  if (response->status != kOk) {
    return absl::InternalError(
        fmt::format("llama-server answered {} to a prompt: {:.200}", response->status, response->body));
  }
  google::protobuf::Struct answer;
  if (!google::protobuf::util::JsonStringToMessage(response->body, &answer).ok()) {
    return absl::InternalError(
        fmt::format("llama-server answered a prompt with no JSON object: {:.200}", response->body));
  }
  return answer;
}

absl::StatusOr<base::Fd> LlamaServer::Connect(nanoseconds deadline) {
  base::Fd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket.valid()) return base::ErrnoStatus(errno, "socket");
  const sockaddr_in address = Loopback(port_);
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) return socket;
  if (errno == EINPROGRESS) {
    BALLAST_RETURN_IF_ERROR(Await(socket.get(), POLLOUT, deadline));
    int error = 0;
    socklen_t size = sizeof error;
    ::getsockopt(socket.get(), SOL_SOCKET, SO_ERROR, &error, &size);
    if (error == 0) return socket;
    errno = error;
  }
  if (errno == ECONNREFUSED) return absl::UnavailableError("llama-server does not listen yet");
  return base::ErrnoStatus(errno, fmt::format("connect to llama-server at 127.0.0.1:{}", port_));
}

absl::StatusOr<LlamaServer::Response> LlamaServer::Request(std::string_view method, std::string_view path,
                                                           std::string_view body, nanoseconds deadline) {
  BALLAST_ASSIGN_OR_RETURN(const base::Fd socket, Connect(deadline));
  const std::string text = HttpRequestText(method, path, body);
  for (std::size_t sent = 0; sent < text.size();) {
    BALLAST_RETURN_IF_ERROR(Await(socket.get(), POLLOUT, deadline));
    const ssize_t n = ::send(socket.get(), text.data() + sent, text.size() - sent, MSG_NOSIGNAL);
    if (n > 0) sent += static_cast<std::size_t>(n);
    if (n < 0 && errno != EAGAIN && errno != EINTR) break;  // the answer, or its lack, tells more
  }
  std::string received;
  bool closed = false;
  while (true) {
    if (!closed) BALLAST_RETURN_IF_ERROR(Await(socket.get(), POLLIN, deadline));
    closed = closed || !TakeAvailable(socket.get(), [&received](std::string_view more) { received += more; });
    absl::StatusOr<std::optional<HttpResponse>> response = ParseHttpResponse(received, closed);
    if (!response.ok()) {
      // A server that dies closes its connections first.
      if (closed && !Await(-1, 0, std::min(deadline, Now() + std::chrono::seconds(1))).ok() && ended_) return Ended();
      return absl::InternalError(fmt::format("llama-server at {}: {}", path, std::string(response.status().message())));
    }
    if (*response) return Response{.status = (*response)->status, .body = std::move((*response)->body)};
  }
}

absl::Status LlamaServer::Await(int fd, short events, nanoseconds deadline) {
  while (true) {
    std::array<pollfd, 4> waits = {pollfd{fd, events, 0}, pollfd{stop_event_.get(), POLLIN, 0},
                                   pollfd{child_.pid_fd(), POLLIN, 0}, pollfd{output_.get(), POLLIN, 0}};
    const int ready = ::poll(waits.data(), waits.size(), MillisecondsUntil(deadline));
    if (ready < 0 && errno != EINTR) return base::ErrnoStatus(errno, "poll");
    if (waits[3].revents != 0) TakeOutput();
    if (waits[1].revents != 0) return absl::CancelledError("stopped while llama-server was at work");
    if (waits[0].revents != 0) return absl::OkStatus();
    if (waits[2].revents != 0) return Ended();
    if (Now() >= deadline) {
      return absl::DeadlineExceededError(fmt::format("llama-server did not answer in time{}", LastWords()));
    }
  }
}

std::string LlamaServer::LastWords() const {
  const std::string lines = tail_.LastLines();
  return lines.empty() ? "" : "; its last words: " + lines;
}

void LlamaServer::TakeOutput() {
  // At its end poll() would say again and again that there is something.
  if (!TakeAvailable(output_.get(), [this](std::string_view text) { tail_.Append(text); })) output_.Reset();
}

absl::Status LlamaServer::Ended() {
  if (output_.valid()) TakeOutput();
  ended_ = child_.Wait();
  return absl::FailedPreconditionError(fmt::format("llama-server {}{}", HowItEnded(*ended_), LastWords()));
}

}  // namespace ballast::model

#include "coordinator/rpc/tcp_listener.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "coordinator/rpc/next_step.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace ballast::coordinator {
namespace {

using testing::HasSubstr;

// Keeps what it is given.
class Taken {
 public:
  class Acceptor final : public grpc::experimental::ExternalConnectionAcceptor {
   public:
    explicit Acceptor(Taken* taken) : taken_(taken) {}
    void HandleNewConnection(NewConnectionParameters* parameters) override {
      const std::lock_guard lock(taken_->mutex_);
      taken_->connections_.emplace_back(parameters->fd);
      taken_->changed_.notify_all();
    }

   private:
    Taken* const taken_;
  };

  void Await(std::size_t count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return connections_.size() >= count; });
  }
  int last() {
    const std::lock_guard lock(mutex_);
    return connections_.back().get();
  }
  std::size_t Clear() {
    const std::lock_guard lock(mutex_);
    const std::size_t count = connections_.size();
    connections_.clear();
    return count;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<base::Fd> connections_;
};

// From 127.0.0.`host`.
base::Fd Connect(int port, std::uint32_t host = 1) {
  base::Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in name{};
  name.sin_family = AF_INET;
  name.sin_addr.s_addr = htonl(INADDR_LOOPBACK - 1 + host);
  EXPECT_EQ(::bind(fd.get(), reinterpret_cast<const sockaddr*>(&name), sizeof name), 0);
  name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  name.sin_port = htons(static_cast<std::uint16_t>(port));
  EXPECT_EQ(::connect(fd.get(), reinterpret_cast<const sockaddr*>(&name), sizeof name), 0);
  return fd;
}

// Blocks until the other side has closed it.
bool IsClosed(const base::Fd& fd) {
  char byte = 0;
  return ::read(fd.get(), &byte, 1) <= 0;
}

// Whether the other side keeps it: a connection that is refused is closed before anything else happens.
bool IsTaken(const base::Fd& fd) {
  pollfd state{.fd = fd.get(), .events = POLLIN | POLLRDHUP, .revents = 0};
  return ::poll(&state, 1, 200) == 0;
}

TEST(TcpListenerTest, SaysWhyItCannotListen) {
  const auto listener = TcpListener::Open("127.0.0.1:0");
  ASSERT_TRUE(listener.ok()) << listener.status();
  const std::string taken = fmt::format("127.0.0.1:{}", (*listener)->port());
  const absl::Status in_use = TcpListener::Open(taken).status();
  EXPECT_EQ(in_use.code(), absl::StatusCode::kAlreadyExists);
  EXPECT_THAT(std::string(in_use.message()), HasSubstr(taken));
  EXPECT_THAT(NextStepOf(in_use), HasSubstr("stop the other program"));
  // 192.0.2.0/24 is kept for documents: no machine has it.
  EXPECT_FALSE(TcpListener::Open("192.0.2.1:0").ok());
  EXPECT_TRUE(TcpListener::Open("localhost:0").ok());
}

TEST(TcpListenerTest, RefusesWhatIsTooMuchAndGoesOn) {
  auto listener = TcpListener::Open("127.0.0.1:0");
  ASSERT_TRUE(listener.ok()) << listener.status();
  Taken taken;
  // The lowest descriptor that is free here, and four more.
  base::Fd lowest(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  const auto bound = static_cast<std::size_t>(lowest.get()) + 10;
  lowest.Reset();
  std::vector<std::size_t> told;
  (*listener)->Start(std::make_unique<Taken::Acceptor>(&taken),
                     {.max_open_files = bound, .on_open_files = [&told](std::size_t files) { told.push_back(files); }});
  std::vector<base::Fd> clients;
  while (true) {  // each takes a descriptor here, too
    clients.push_back(Connect((*listener)->port()));
    if (static_cast<std::size_t>(clients.back().get()) + 1 >= bound) break;
    taken.Await(clients.size());
  }
  EXPECT_TRUE(IsClosed(clients.back())) << "beyond the bound";
  clients.clear();
  EXPECT_GE(taken.Clear(), 1U);
  const base::Fd again = Connect((*listener)->port());
  taken.Await(1);
  listener->reset();
  ASSERT_FALSE(told.empty());
  EXPECT_GT(told.front(), static_cast<std::size_t>(again.get())) << "before the connection is given away";
}

TEST(TcpListenerTest, TheKernelLooksAfterConnectionsThatSayNothing) {
  auto listener = TcpListener::Open("127.0.0.1:0");
  ASSERT_TRUE(listener.ok()) << listener.status();
  Taken taken;
  (*listener)->Start(std::make_unique<Taken::Acceptor>(&taken), {.max_open_files = 10'000, .max_per_address = 3});
  const base::Fd client = Connect((*listener)->port());
  taken.Await(1);
  const auto option = [fd = taken.last()](int level, int name) {
    int value = 0;
    socklen_t size = sizeof value;
    EXPECT_EQ(::getsockopt(fd, level, name, &value, &size), 0);
    return value;
  };
  EXPECT_EQ(option(SOL_SOCKET, SO_KEEPALIVE), 1);
  EXPECT_LE(option(IPPROTO_TCP, TCP_KEEPIDLE), 60);
  EXPECT_LE(option(IPPROTO_TCP, TCP_KEEPINTVL), 60);
  EXPECT_EQ(option(IPPROTO_TCP, TCP_USER_TIMEOUT), 300'000);
}

TEST(TcpListenerTest, OneAddressLeavesRoomForTheOthers) {
  auto listener = TcpListener::Open("127.0.0.1:0");
  ASSERT_TRUE(listener.ok()) << listener.status();
  Taken taken;
  (*listener)->Start(std::make_unique<Taken::Acceptor>(&taken), {.max_open_files = 10'000, .max_per_address = 3});
  std::vector<base::Fd> crowd;
  for (int i = 0; i < 3; ++i) crowd.push_back(Connect((*listener)->port(), 7));
  taken.Await(3);
  for (int i = 0; i < 20; ++i) EXPECT_TRUE(IsClosed(Connect((*listener)->port(), 7)));
  const base::Fd other = Connect((*listener)->port(), 8);
  taken.Await(4);
  // The server closes them, and nobody tells the listener.
  taken.Clear();
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  base::Fd again;
  do {
    again = Connect((*listener)->port(), 7);
  } while (!IsTaken(again) && std::chrono::steady_clock::now() < deadline);
  EXPECT_TRUE(IsTaken(again));
}

}  // namespace
}  // namespace ballast::coordinator

#include "worker/agent/session/session.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <spdlog/sinks/base_sink.h>

#include <algorithm>
#include <condition_variable>
#include <csignal>
#include <memory>
#include <mutex>
#include <span>
#include <string>

#include "common/base/clock.h"
#include "common/base/logging.h"
#include "common/tls/authority.h"
#include "common/tls/private_key.h"
#include "tests/unit/common/rpc/tls_server.h"
#include "tests/unit/worker/agent/run_fixture.h"
#include "tests/unit/worker/agent/session/fake_coordinator.h"

namespace ballast::agent {
namespace {

using std::chrono::milliseconds;
using testing::ElementsAre;
using testing::SizeIs;
using Received = FakeCoordinator::Received;

class SessionTest : public RunFixture {
 protected:
  void SetUp() override {
    OpenSpool();
    supervisor_ = std::make_unique<RunSupervisor>(options_, spool_.get());
  }
  void TearDown() override {
    session_.reset();
    supervisor_.reset();
  }

  void StartSession(milliseconds welcome_timeout = milliseconds(10'000), const std::string& address = "") {
    session_ =
        std::make_unique<Session>(SessionOptions{.coordinator = address.empty() ? coordinator_.address() : address,
                                                 .identity = {.device_id = "dev-1",
                                                              .labels = {{"class", "test"}},
                                                              .reconnect_max = milliseconds(50),
                                                              .welcome_timeout = welcome_timeout},
                                                 .facts =
                                                     [] {
                                                       v1::DeviceFacts facts;
                                                       facts.set_hostname("here");
                                                       return facts;
                                                     }},
                                  spool_.get(), supervisor_.get(), &peer_clock_);
  }

  void SpoolAttempt(const AttemptKey& key, int chunks) {
    ASSERT_TRUE(spool_->Begin(key, Started()).ok());
    for (int i = 0; i < chunks; ++i) ASSERT_TRUE(spool_->AppendChunk(key, ChunkAt(milliseconds(1000 * i))).ok());
    ASSERT_TRUE(spool_->Finish(key, Finished()).ok());
    Flush();
  }

  bool WaitForEmptySpool() {
    // Every acknowledgement comes with a heartbeat soon after, which says what the spool holds.
    return coordinator_.WaitFor([](const Received& received) {
      return !received.heartbeats.empty() && received.heartbeats.back().spool_bytes() == 0 && !received.records.empty();
    });
  }

  static std::vector<std::uint64_t> SeqsOf(const std::vector<v1::Record>& records) {
    std::vector<std::uint64_t> seqs;
    for (const v1::Record& record : records) seqs.push_back(record.seq());
    return seqs;
  }

  void Assign(const v1::Assignment& assignment) {
    v1::CoordinatorMessage message;
    *message.mutable_assignment() = assignment;
    coordinator_.Send(message);
  }

  [[nodiscard]] bool WaitForHello(std::size_t count) {
    return coordinator_.WaitFor([count](const Received& received) { return received.hellos.size() >= count; });
  }

  FakeCoordinator coordinator_;
  PeerClock peer_clock_;
  std::unique_ptr<RunSupervisor> supervisor_;
  std::unique_ptr<Session> session_;
};

TEST_F(SessionTest, SaysWhoItIsAndWhatItHolds) {
  SpoolAttempt(key_, 1);
  coordinator_.set_acknowledge(false);
  StartSession();
  ASSERT_TRUE(WaitForHello(1));
  const v1::Hello hello = coordinator_.received().hellos[0];
  EXPECT_EQ(hello.device_id(), "dev-1");
  EXPECT_EQ(hello.protocol_version(), 1U);
  EXPECT_EQ(hello.facts().hostname(), "here");
  EXPECT_EQ(hello.labels().at("class"), "test");
  ASSERT_EQ(hello.held_attempts_size(), 1);
  EXPECT_EQ(hello.held_attempts(0).run_id(), key_.run_id);
  EXPECT_FALSE(hello.held_attempts(0).active());
  EXPECT_TRUE(coordinator_.WaitFor([](const Received& received) { return received.heartbeats.size() >= 3; }));
  EXPECT_EQ(session_->welcome_count(), 1U);
}

TEST_F(SessionTest, SendsWhatIsSpooledInOrderAndDropsWhatIsAcknowledged) {
  SpoolAttempt(key_, 3);
  StartSession();
  ASSERT_TRUE(WaitForEmptySpool());
  EXPECT_THAT(SeqsOf(coordinator_.received().records), ElementsAre(1, 2, 3, 4, 5));
  EXPECT_FALSE(spool_->Contains(key_));
  // And what is spooled later.
  SpoolAttempt({"j-test.2", 1}, 1);
  EXPECT_TRUE(coordinator_.WaitFor([](const Received& received) { return received.records.size() == 8; }));
}

TEST_F(SessionTest, SendsAgainInTheNextSessionWhatWasNotAcknowledged) {
  SpoolAttempt(key_, 2);
  coordinator_.set_acknowledge(false);
  StartSession();
  ASSERT_TRUE(coordinator_.WaitFor([](const Received& received) { return received.records.size() == 4; }));
  const std::uint64_t before = spool_->unacknowledged_bytes();
  v1::CoordinatorMessage ack;
  ack.mutable_ack()->set_run_id(key_.run_id);
  ack.mutable_ack()->set_attempt(key_.attempt);
  ack.mutable_ack()->add_seqs(2);
  coordinator_.Send(ack);
  ASSERT_TRUE(coordinator_.WaitFor([before](const Received& received) {
    return !received.heartbeats.empty() && received.heartbeats.back().spool_bytes() < before;
  }));
  coordinator_.End({grpc::StatusCode::UNAVAILABLE, "going down"});
  ASSERT_TRUE(coordinator_.WaitFor([](const Received& received) { return received.records.size() == 7; }));
  EXPECT_THAT(SeqsOf(coordinator_.received().records), ElementsAre(1, 2, 3, 4, 1, 3, 4));
}

TEST_F(SessionTest, ComesBackByItselfWhenTheCoordinatorDoes) {
  StartSession();
  ASSERT_TRUE(WaitForHello(1));
  coordinator_.Shutdown();
  SpoolAttempt(key_, 1);  // offline is normal
  coordinator_.Restart();
  ASSERT_TRUE(WaitForHello(2));
  ASSERT_TRUE(WaitForEmptySpool());
  EXPECT_THAT(SeqsOf(coordinator_.received().records), ElementsAre(1, 2, 3));
}

TEST_F(SessionTest, AReplacedSessionEndsOnlyWhenTheNextIsWelcome) {
  StartSession();
  ASSERT_TRUE(coordinator_.WaitFor([](const Received& received) { return !received.heartbeats.empty(); }));
  session_->Replace();
  ASSERT_TRUE(WaitForHello(2));
  ASSERT_TRUE(coordinator_.WaitFor([](const Received& received) { return received.ended_sessions == 1; }));
  EXPECT_EQ(coordinator_.received().most_open_sessions, 2) << "the device was never without a session";
  SpoolAttempt(key_, 1);
  ASSERT_TRUE(WaitForEmptySpool());
  EXPECT_EQ(session_->welcome_count(), 2U);
  EXPECT_THAT(coordinator_.received().hellos, SizeIs(2));
}

TEST_F(SessionTest, TriesAgainWhereTheWelcomeDoesNotCome) {
  coordinator_.set_welcome(false);
  StartSession(milliseconds(20));
  ASSERT_TRUE(WaitForHello(2));
  EXPECT_EQ(session_->welcome_count(), 0U);
  coordinator_.set_welcome(true);
  EXPECT_TRUE(coordinator_.WaitFor([](const Received& received) { return !received.heartbeats.empty(); }));
}

TEST_F(SessionTest, ARefusalIsTriedAgain) {
  coordinator_.Refuse({grpc::StatusCode::ABORTED, "another worker connected as device dev-1"});
  StartSession();
  ASSERT_TRUE(coordinator_.WaitFor([](const Received& received) { return received.refused_sessions >= 2; }));
  coordinator_.Refuse(grpc::Status::OK);
  EXPECT_TRUE(WaitForHello(1));
}

// Keeps what is logged, for whoever waits for it.
class LogSink final : public spdlog::sinks::base_sink<std::mutex> {
 public:
  [[nodiscard]] bool WaitFor(const std::string& text) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, kPatience, [&] { return log_.find(text) != std::string::npos; });
  }

 protected:
  void sink_it_(const spdlog::details::log_msg& message) override {
    log_.append(message.payload.data(), message.payload.size()).push_back('\n');
    changed_.notify_all();
  }
  void flush_() override {}

 private:
  std::condition_variable_any changed_;
  std::string log_;
};

// From before there are threads that log: a logger's sinks are no others' to change then.
const std::shared_ptr<LogSink> kLog = [] {
  auto sink = std::make_shared<LogSink>();
  base::Log().sinks().push_back(sink);
  return sink;
}();

TEST_F(SessionTest, AWorkerWithoutACertificateIsToldHowItGetsOne) {
  const auto now = base::RealClock().Now();
  const tls::CertificateAuthority authority = *tls::CertificateAuthority::Create(now);
  const std::string key = *tls::MakePrivateKey();
  const std::string certificate =
      *authority.IssueServer(*tls::MakeCertificateRequest(key, "x"), {}, now, std::chrono::hours(1));
  const rpc::TlsServer server(key, certificate + authority.certificate_pem());
  StartSession(milliseconds(10'000), server.address());
  EXPECT_TRUE(kLog->WaitFor("there is none here for it: start this worker with --join TOKEN@" + server.address()));
}

TEST_F(SessionTest, CarriesOutAnAssignmentOnceHoweverOftenItComes) {
  StartSession();
  ASSERT_TRUE(WaitForHello(1));
  const v1::Assignment assignment = Staircase(2, milliseconds(60));
  Assign(assignment);
  Assign(assignment);
  ASSERT_TRUE(coordinator_.WaitFor([](const Received& received) {
    return std::ranges::any_of(received.records, [](const v1::Record& record) { return record.has_finished(); });
  }));
  Assign(assignment);
  ASSERT_TRUE(WaitForEmptySpool());
  const Received received = coordinator_.received();
  const auto starts =
      std::ranges::count_if(received.records, [](const v1::Record& record) { return record.has_started(); });
  EXPECT_EQ(starts, 1);
  EXPECT_EQ(received.records.back().finished().result().outcome().kind(), v1::COMPLETED);
  EXPECT_FALSE(received.progress.empty());
  EXPECT_THAT(received.rejected, SizeIs(0));
}

TEST_F(SessionTest, ARunGoesOnWithoutTheCoordinator) {
  StartSession();
  ASSERT_TRUE(WaitForHello(1));
  Assign(LongRun());
  ASSERT_TRUE(coordinator_.WaitFor([](const Received& received) {
    return !received.progress.empty() && received.progress.back().held_bytes() > 0;
  }));
  coordinator_.Shutdown();
  EXPECT_EQ(supervisor_->active(), key_);
  coordinator_.Restart();
  ASSERT_TRUE(WaitForHello(2));
  const v1::Hello hello = coordinator_.received().hellos[1];
  ASSERT_EQ(hello.held_attempts_size(), 1);
  EXPECT_TRUE(hello.held_attempts(0).active());
  ASSERT_TRUE(coordinator_.WaitFor(
      [this](const Received& received) { return received.heartbeats.back().active_run_id() == key_.run_id; }));
  v1::CoordinatorMessage cancel;
  cancel.mutable_cancel()->set_run_id(key_.run_id);
  cancel.mutable_cancel()->set_attempt(key_.attempt);
  cancel.mutable_cancel()->set_outcome(v1::CANCELLED);
  cancel.mutable_cancel()->set_reason("enough");
  coordinator_.Send(cancel);
  ASSERT_TRUE(coordinator_.WaitFor(
      [](const Received& received) { return !received.records.empty() && received.records.back().has_finished(); }));
  EXPECT_EQ(coordinator_.received().records.back().finished().result().outcome().message(), "enough");
}

TEST_F(SessionTest, TellsWhatItDoesNotTake) {
  StartSession();
  ASSERT_TRUE(WaitForHello(1));
  v1::Assignment assignment = LongRun();
  assignment.mutable_spec()->set_environment("phone-3gb");
  Assign(assignment);
  ASSERT_TRUE(coordinator_.WaitFor([](const Received& received) { return !received.rejected.empty(); }));
  EXPECT_EQ(coordinator_.received().rejected[0].outcome(), v1::ENVIRONMENT_REFUSED);
}

TEST_F(SessionTest, SetsAsideWhatTheCoordinatorDoesNotKnow) {
  SpoolAttempt(key_, 1);
  coordinator_.set_acknowledge(false);
  StartSession();
  ASSERT_TRUE(coordinator_.WaitFor([](const Received& received) { return received.records.size() == 3; }));
  v1::CoordinatorMessage rejected;
  rejected.mutable_record_rejected()->set_run_id(key_.run_id);
  rejected.mutable_record_rejected()->set_attempt(key_.attempt);
  rejected.mutable_record_rejected()->set_reason("no such run");
  coordinator_.Send(rejected);
  ASSERT_TRUE(WaitForEmptySpool());
  Flush();
  EXPECT_TRUE(std::filesystem::exists(directory_ / "set_aside" / ToText(key_)));
}

TEST_F(SessionTest, AStopDeliversWhatItCan) {
  StartSession();
  ASSERT_TRUE(WaitForHello(1));
  Assign(LongRun());
  ASSERT_TRUE(coordinator_.WaitFor([](const Received& received) { return !received.progress.empty(); }));
  ASSERT_TRUE(supervisor_->Stop("the worker was stopped", kPatience));
  Flush();
  EXPECT_TRUE(session_->Stop(kPatience));
  const Received received = coordinator_.received();
  ASSERT_FALSE(received.records.empty());
  EXPECT_EQ(received.records.back().finished().result().outcome().message(), "the worker was stopped");
}

TEST_F(SessionTest, AStopDoesNotWaitForACoordinatorThatIsNotThere) {
  coordinator_.Shutdown();
  SpoolAttempt(key_, 1);
  StartSession();
  const std::chrono::nanoseconds begin = base::RealClock().Monotonic();
  EXPECT_FALSE(session_->Stop(std::chrono::seconds(20)));
  EXPECT_LT(base::RealClock().Monotonic() - begin, std::chrono::seconds(5));
  EXPECT_TRUE(spool_->Contains(key_)) << "it waits for the next start";
}

}  // namespace
}  // namespace ballast::agent

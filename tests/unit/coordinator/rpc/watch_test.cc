#include "coordinator/rpc/watch_stream.h"

#include <map>
#include <memory>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "gmock/gmock.h"
#include "tests/unit/coordinator/rpc/server_fixture.h"

namespace ballast::coordinator {
namespace {

using testing::ElementsAre;

// One watcher, reading update by update.
class Watcher {
 public:
  Watcher(v1::JobService::Stub* stub, const std::string& job_id) {
    v1::WatchJobRequest request;
    request.set_job_id(job_id);
    reader_ = stub->WatchJob(&context_, request);
  }
  ~Watcher() {
    context_.TryCancel();
    if (!ended_) (void)End();
  }
  // The next update in short; empty at the end.
  std::string Read() {
    v1::JobUpdate update;
    if (!reader_->Read(&update)) return {};
    if (update.has_job()) return fmt::format("job {}", v1::Job::State_Name(update.job().state()));
    if (update.has_progress()) return fmt::format("progress {}", update.progress().held_bytes());
    EXPECT_EQ(update.run().outcome().evidence().kernel_log_size(), 0);
    return fmt::format("run {}", v1::Run::State_Name(update.run().state()));
  }
  grpc::Status End() {
    ended_ = true;
    v1::JobUpdate update;
    while (reader_->Read(&update)) {
    }
    return reader_->Finish();
  }
  void Cancel() { context_.TryCancel(); }

 private:
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReader<v1::JobUpdate>> reader_;
  bool ended_ = false;
};

class WatchTest : public ServerTest {
 protected:
  void SetUp() override { StartServer(); }

  void SendProgress(TestWorker* worker, const std::string& run_id, std::uint64_t held_bytes) {
    v1::WorkerMessage message;
    message.mutable_progress()->set_run_id(run_id);
    message.mutable_progress()->set_attempt(1);
    message.mutable_progress()->set_held_bytes(held_bytes);
    worker->Send(message);
  }
};

TEST_F(WatchTest, TheStateFirstThenEveryChangeUntilTheEnd) {
  const auto worker = Connect("a");
  const std::string job_id = Submit(Request())->job_id();
  const std::string run_id = worker->ReadAssignment();
  Watcher watcher(jobs_.get(), job_id);
  EXPECT_EQ(watcher.Read(), "job QUEUED");
  EXPECT_EQ(watcher.Read(), "run ASSIGNED");
  worker->SendStarted(run_id);
  EXPECT_EQ(watcher.Read(), "run RUNNING");
  EXPECT_EQ(watcher.Read(), "job RUNNING");
  SendProgress(worker.get(), run_id, 7);
  EXPECT_EQ(watcher.Read(), "progress 7");
  worker->SendFinished(run_id, 2);
  EXPECT_EQ(watcher.Read(), "run ENDED");
  EXPECT_EQ(watcher.Read(), "job FINISHED");
  EXPECT_EQ(watcher.Read(), "");
  EXPECT_TRUE(watcher.End().ok());
  // Later watchers get what is stored.
  Watcher late(jobs_.get(), job_id);
  EXPECT_EQ(late.Read(), "job FINISHED");
  EXPECT_EQ(late.Read(), "run ENDED");
  EXPECT_EQ(late.Read(), "");
  EXPECT_TRUE(late.End().ok());
}

TEST_F(WatchTest, UnknownJobsAreNotFound) {
  Watcher watcher(jobs_.get(), "j-nowhere");
  EXPECT_EQ(watcher.End().error_code(), grpc::StatusCode::NOT_FOUND);
}

TEST_F(WatchTest, AWatcherThatLeavesDisturbsNobody) {
  const auto worker = Connect("a");
  const std::string job_id = Submit(Request())->job_id();
  const std::string run_id = worker->ReadAssignment();
  Watcher stays(jobs_.get(), job_id);
  EXPECT_EQ(stays.Read(), "job QUEUED");
  EXPECT_EQ(stays.Read(), "run ASSIGNED");
  {
    Watcher leaves(jobs_.get(), job_id);
    EXPECT_EQ(leaves.Read(), "job QUEUED");
    leaves.Cancel();
    EXPECT_EQ(leaves.End().error_code(), grpc::StatusCode::CANCELLED);
  }
  worker->SendStarted(run_id);
  worker->SendFinished(run_id, 2);
  worker->AwaitAcks(run_id, 2);
  EXPECT_TRUE(stays.End().ok());
}

TEST_F(WatchTest, ASlowWatcherSeesTheLatestAndTheEnd) {
  const auto worker = Connect("a");
  const std::string job_id = Submit(Request())->job_id();
  const std::string run_id = worker->ReadAssignment();
  Watcher watcher(jobs_.get(), job_id);
  EXPECT_EQ(watcher.Read(), "job QUEUED");
  worker->SendStarted(run_id);
  constexpr std::uint64_t kUpdates = 20'000;  // more than the transport holds
  for (std::uint64_t i = 1; i <= kUpdates; ++i) SendProgress(worker.get(), run_id, i);
  worker->SendFinished(run_id, 2);
  worker->AwaitAcks(run_id, 2);
  std::vector<std::string> seen;
  for (std::string update = watcher.Read(); !update.empty(); update = watcher.Read()) seen.push_back(update);
  EXPECT_TRUE(watcher.End().ok());
  ASSERT_GE(seen.size(), 2U);
  EXPECT_LT(seen.size(), kUpdates);
  EXPECT_THAT(std::vector<std::string>(seen.end() - 2, seen.end()),
              testing::UnorderedElementsAre("run ENDED", "job FINISHED"));
}

}  // namespace
}  // namespace ballast::coordinator

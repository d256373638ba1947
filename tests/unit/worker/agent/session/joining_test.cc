#include "worker/agent/session/joining.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spdlog/sinks/ostream_sink.h>

#include <algorithm>
#include <memory>
#include <sstream>
#include <vector>

#include "common/base/logging.h"
#include "common/base/next_step.h"

namespace ballast::agent {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class JoiningTest : public testing::Test {
 protected:
  JoiningTest() { base::Log().sinks().push_back(sink_); }
  ~JoiningTest() override { std::erase(base::Log().sinks(), sink_); }

  // Each try gets the next answer; pauses are remembered, not waited for.
  absl::Status Join(std::vector<absl::Status> answers, std::size_t stop_after = 100) {
    std::size_t tries = 0;
    const absl::Status status = KeepJoining([&] { return answers.at(tries++); },
                                            [&](milliseconds pause) {
                                              pauses_.push_back(pause);
                                              return pauses_.size() == stop_after;
                                            });
    EXPECT_TRUE(absl::IsCancelled(status) || tries == answers.size()) << "stopped before its time";
    return status;
  }

  std::vector<milliseconds> pauses_;
  std::ostringstream log_;
  std::shared_ptr<spdlog::sinks::ostream_sink_mt> sink_ = std::make_shared<spdlog::sinks::ostream_sink_mt>(log_, true);
};

TEST_F(JoiningTest, TooManyTriesFromOneAddressAreWaitedFor) {
  const absl::Status too_many = absl::ResourceExhaustedError("more than 30 tries came from this address");
  EXPECT_TRUE(Join({too_many, too_many, absl::OkStatus()}).ok());
  EXPECT_THAT(pauses_, ElementsAre(seconds(1), seconds(2)));
  EXPECT_THAT(log_.str(), HasSubstr("more than 30 tries came from this address; the token is still good and this "
                                    "worker waits, trying again in 2 s"));
}

TEST_F(JoiningTest, PausesGrowUpToHalfAMinute) {
  std::vector<absl::Status> answers(7, absl::UnavailableError("nothing answers there"));
  answers[3] = absl::DeadlineExceededError("late");
  answers.push_back(absl::UnauthenticatedError("the join token was used already"));
  EXPECT_TRUE(absl::IsUnauthenticated(Join(answers)));
  EXPECT_THAT(pauses_,
              ElementsAre(seconds(1), seconds(2), seconds(4), seconds(8), seconds(16), seconds(30), seconds(30)));
  EXPECT_THAT(log_.str(), testing::Not(HasSubstr("still good"))) << "nobody knows that";
}

TEST_F(JoiningTest, AStopEndsIt) {
  EXPECT_TRUE(absl::IsCancelled(Join(std::vector<absl::Status>(5, absl::UnavailableError("nothing")), 2)));
  EXPECT_THAT(pauses_, ElementsAre(seconds(1), seconds(2)));
}

TEST_F(JoiningTest, WhatCannotHelpIsNotTriedAgain) {
  EXPECT_TRUE(absl::IsInternal(Join({absl::InternalError("the certificate came, and could not be kept")})));
  EXPECT_THAT(pauses_, IsEmpty());
}

TEST_F(JoiningTest, TheNextStepFitsTheCause) {
  EXPECT_EQ(NextStepOfJoining(base::WithNextStep(absl::UnauthenticatedError("x"), "check the address"), "q1"),
            "check the address");
  EXPECT_EQ(NextStepOfJoining(absl::InvalidArgumentError("it looks like a serial number"), "q1"),
            "give another --device-id");
  EXPECT_EQ(NextStepOfJoining(absl::UnauthenticatedError("the join token was used already"), "q1"),
            "ask for a join token: ballast token create --role worker --name q1");
}

}  // namespace
}  // namespace ballast::agent

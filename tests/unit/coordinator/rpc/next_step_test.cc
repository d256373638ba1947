#include "coordinator/rpc/next_step.h"

#include "common/base/next_step.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace ballast::coordinator {
namespace {

using testing::HasSubstr;

TEST(NextStepTest, GoesWithTheStatus) {
  const absl::Status status = WithNextStep(absl::NotFoundError("no directory"), "make it");
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(status.message(), "no directory");
  EXPECT_EQ(NextStepOf(status), "make it");
  EXPECT_EQ(NextStepOf(absl::NotFoundError("no directory")), "");
  EXPECT_TRUE(WithNextStep(absl::OkStatus(), "nothing").ok());
}

TEST(NextStepTest, FailuresOfTheDiskAreToldApart) {
  for (const auto& with : {OfStore, OfDataDirectory}) {
    EXPECT_THAT(NextStepOf(with(absl::PermissionDeniedError("x"))), HasSubstr("let this user write"));
    EXPECT_THAT(NextStepOf(with(absl::ResourceExhaustedError("x"))), HasSubstr("free space"));
    EXPECT_THAT(NextStepOf(with(absl::UnavailableError("x"))), HasSubstr("free space"));
    EXPECT_THAT(NextStepOf(with(absl::InternalError("x"))), HasSubstr("can be written"));
  }
  EXPECT_THAT(NextStepOf(OfStore(absl::FailedPreconditionError("x"))), HasSubstr("stop the other coordinator"));
  EXPECT_THAT(NextStepOf(OfStore(absl::DataLossError("x"))), HasSubstr("a copy of the database"));
  EXPECT_THAT(NextStepOf(OfDataDirectory(absl::FailedPreconditionError("x"))), HasSubstr("is a directory"));
}

TEST(NextStepTest, OfMaintenanceIsWhatTheFailureSaysElseThatOfItsCode) {
  EXPECT_THAT(NextStepOfMaintenance(absl::NotFoundError("x")), HasSubstr("give --data-dir the directory"));
  EXPECT_EQ(NextStepOfMaintenance(base::WithNextStep(absl::NotFoundError("x"), "make that directory")),
            "make that directory");
}

}  // namespace
}  // namespace ballast::coordinator

#include "coordinator/rpc/method_access.h"

#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "ballast/v1/admin_service.pb.h"
#include "ballast/v1/client_service.pb.h"
#include "ballast/v1/enrollment_service.pb.h"
#include "ballast/v1/planning_service.pb.h"
#include "ballast/v1/worker_service.pb.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/descriptor_database.h"

namespace ballast::coordinator {
namespace {

// Every call of every service that is linked into this program, as HTTP/2 names it.
std::set<std::string> AllMethods() {
  // Named, so that the linker takes the descriptors of each file.
  for (const google::protobuf::Descriptor* message :
       {v1::CreateJoinTokenRequest::descriptor(), v1::SubmitJobRequest::descriptor(), v1::EnrollRequest::descriptor(),
        v1::CreateReservationRequest::descriptor(), v1::Hello::descriptor()}) {
    EXPECT_GT(message->file()->service_count(), 0) << message->file()->name();
  }
  std::vector<std::string> files;
  google::protobuf::DescriptorPool::internal_generated_database()->FindAllFileNames(&files);
  std::set<std::string> methods;
  for (const std::string& name : files) {
    const auto* file = google::protobuf::DescriptorPool::generated_pool()->FindFileByName(name);
    for (int i = 0; file != nullptr && i < file->service_count(); ++i) {
      const google::protobuf::ServiceDescriptor* service = file->service(i);
      for (int j = 0; j < service->method_count(); ++j) {
        methods.insert("/" + service->full_name() + "/" + service->method(j)->name());
      }
    }
  }
  return methods;
}

TEST(MethodAccessTest, EveryCallOfEveryServiceIsInTheTable) {
  const std::set<std::string> methods = AllMethods();
  EXPECT_GE(methods.size(), 35U);
  for (const std::string& method : methods) {
    EXPECT_TRUE(AccessTo(method).has_value()) << method << " is in no table: say who may make this call";
  }
}

TEST(MethodAccessTest, TheTableHasNothingThatIsNot) {
  const std::set<std::string> methods = AllMethods();
  for (const MethodAccess& entry : MethodTable()) {
    const std::string method(entry.method);
    if (method.starts_with("/grpc.")) continue;  // gRPC links its own descriptors only where it serves them
    EXPECT_TRUE(methods.contains(method)) << method;
  }
}

TEST(MethodAccessTest, OnlyEnrolmentAndHealthNeedNoCertificate) {
  std::set<std::string_view> open;
  for (const MethodAccess& entry : MethodTable()) {
    if (entry.access == Access::kAnyone) open.insert(entry.method);
  }
  EXPECT_EQ(open, (std::set<std::string_view>{"/ballast.v1.EnrollmentService/Enroll", "/grpc.health.v1.Health/Check",
                                              "/grpc.health.v1.Health/Watch"}));
}

TEST(MethodAccessTest, RolesStayWithinTheirOwn) {
  EXPECT_TRUE(Allows(Access::kWorker, v1::WORKER));
  EXPECT_FALSE(Allows(Access::kWorker, v1::CLIENT));
  EXPECT_FALSE(Allows(Access::kWorker, v1::ADMIN));
  EXPECT_TRUE(Allows(Access::kClient, v1::CLIENT));
  EXPECT_TRUE(Allows(Access::kClient, v1::ADMIN));
  EXPECT_FALSE(Allows(Access::kClient, v1::WORKER));
  EXPECT_TRUE(Allows(Access::kAdmin, v1::ADMIN));
  EXPECT_FALSE(Allows(Access::kAdmin, v1::CLIENT));
  EXPECT_FALSE(Allows(Access::kAdmin, v1::WORKER));
  for (const Access access : {Access::kHolder, Access::kWorker, Access::kClient, Access::kAdmin}) {
    EXPECT_FALSE(Allows(access, v1::ROLE_UNSPECIFIED));
  }
  EXPECT_FALSE(AccessTo("/ballast.v1.JobService/SubmitJob/").has_value());
  EXPECT_FALSE(AccessTo("").has_value());
}

}  // namespace
}  // namespace ballast::coordinator

// Environment profiles of jobs over a real connection.
#include <fstream>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "coordinator/rpc/next_step.h"
#include "storage/sqlite/sqlite_store.h"
#include "tests/unit/coordinator/rpc/server_fixture.h"

namespace ballast::coordinator {
namespace {

using ::testing::HasSubstr;

class EnvironmentsTest : public ServerTest {
 protected:
  static v1::SubmitJobRequest RequestIn(const std::string& environment) {
    v1::SubmitJobRequest request = Request();
    request.mutable_spec()->set_environment(environment);
    return request;
  }
  static void AppliesProfiles(v1::Hello* hello) { hello->mutable_facts()->add_capabilities(v1::ENVIRONMENT_PROFILES); }
};

TEST_F(EnvironmentsTest, AJobIsKeptWithTheProfileThatItNames) {
  StartServer();
  const auto worker = Connect("d-1", AppliesProfiles);
  const auto job = Submit(RequestIn("2GB-noswap"));
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_EQ(job->spec().environment(), "极限2GB模式");
  const auto message = worker->Read();
  ASSERT_TRUE(message.has_value() && message->has_assignment());
  EXPECT_EQ(message->assignment().spec().environment_profile().memory_bytes(), 2ULL << 30U);
}

TEST_F(EnvironmentsTest, ANameThatIsNotThereIsAnsweredWithTheNearest) {
  StartServer();
  const auto worker = Connect("d-1", AppliesProfiles);
  const absl::Status status = Submit(RequestIn("phone-3bg")).status();
  EXPECT_TRUE(absl::IsNotFound(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("did you mean 'phone-3gb'?"));
}

TEST_F(EnvironmentsTest, AProfileThatAJobBringsAlongIsChecked) {
  StartServer();
  const auto worker = Connect("d-1", AppliesProfiles);
  v1::SubmitJobRequest request = RequestIn("");
  request.mutable_spec()->mutable_environment_profile()->set_name("mine");
  EXPECT_TRUE(absl::IsInvalidArgument(Submit(request).status())) << "without memory";
  request.mutable_spec()->mutable_environment_profile()->set_memory_bytes(64U << 20U);
  const auto job = Submit(request);
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_EQ(job->spec().environment(), "mine");
}

TEST_F(EnvironmentsTest, TheConfigurationsFileStandsBeforeTheProgramsOwn) {
  const std::string file = (directory_ / "environments.yaml").string();
  std::ofstream(file) << "environments: [{name: mine, aliases: [4gb-swap], memory_bytes: 1GiB}]\n";
  StartServer([&](v1::CoordinatorConfig* config) { config->set_environments(file); });
  const auto worker = Connect("d-1", AppliesProfiles);
  EXPECT_EQ(Submit(RequestIn("4gb-swap"))->spec().environment(), "mine");
  EXPECT_EQ(Submit(RequestIn("4GB连线"))->spec().environment_profile().memory_bytes(), 3800ULL << 20U);
  StopServer();
  std::ofstream(file) << "environments: [{name: mine}]\n";
  v1::CoordinatorConfig config;
  config.set_listen("127.0.0.1:0");
  config.set_data_dir(directory_.string());
  config.set_environments(file);
  const auto store = storage::OpenSqliteStore(directory_ / "ballast.db");
  ASSERT_TRUE(store.ok()) << store.status();
  const absl::Status status = Server::Start(config, store->get()).status();
  EXPECT_THAT(std::string(status.message()), HasSubstr(file + ":1:16: "));
  EXPECT_THAT(NextStepOf(status), HasSubstr("configs/low_mem_env.yaml"));
}

}  // namespace
}  // namespace ballast::coordinator

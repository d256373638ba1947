#include "coordinator/rpc/access_commands.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "coordinator/rpc/next_step.h"
#include "coordinator/rpc/pki.h"

namespace ballast::coordinator {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

class AccessCommandsTest : public testing::Test {
 protected:
  AccessCommandsTest() {
    std::string name = (std::filesystem::temp_directory_path() / "ballast-init-XXXXXX").string();
    directory_ = ::mkdtemp(name.data());
    command_.config.set_data_dir(directory_ / "d");
    command_.config.mutable_certificates()->mutable_server_lifetime()->set_seconds(3600);
  }
  ~AccessCommandsTest() override { std::filesystem::remove_all(directory_); }

  std::filesystem::path directory_;
  CoordinatorCommand command_;
};

TEST_F(AccessCommandsTest, ANameThatIsNoneMakesNothing) {
  for (const char* name : {"", "a b", "lab:7850", "../x", "x,DNS:evil", "a\x1b"}) {
    command_.server_names = {"lab", name};
    const absl::Status status = InitAuthority(command_).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << name;
    EXPECT_THAT(std::string(status.message()), StartsWith("--server-name: '"));
    EXPECT_THAT(NextStepOf(status), HasSubstr("--server-name lab.example.org"));
  }
  EXPECT_FALSE(std::filesystem::exists(directory_ / "d"));
}

TEST_F(AccessCommandsTest, NamesAndAddressesStandInTheCertificate) {
  command_.server_names = {"lab.example.org", "10.0.0.7"};
  const auto text = InitAuthority(command_);
  ASSERT_TRUE(text.ok()) << text.status();
  EXPECT_THAT(Pki::Open(directory_ / "d")->ServerCertificate()->server_names,
              testing::IsSupersetOf({"lab.example.org", "10.0.0.7"}));
}

}  // namespace
}  // namespace ballast::coordinator

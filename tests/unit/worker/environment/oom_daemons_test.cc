#include "worker/environment/oom_daemons.h"

#include <gmock/gmock.h>

#include "tests/unit/worker/environment/group_fixture.h"

namespace ballast::environment {
namespace {

using testing::Contains;
using testing::ElementsAre;

class OomDaemonsTest : public DirectoryFixture {};

TEST_F(OomDaemonsTest, AreFoundByName) {
  Write("proc/1/comm", "systemd\n");
  Write("proc/20/comm", "systemd-oomd\n");
  Write("proc/300/comm", "earlyoom\n");
  Write("proc/301/comm", "earlyoom\n");
  Write("proc/302/comm", "earlyoomer\n");
  Write("proc/self/comm", "oomd\n");  // another name of a process that is listed already
  EXPECT_THAT(FindOomDaemons(directory_), ElementsAre("earlyoom", "systemd-oomd"));
  EXPECT_TRUE(IsOomDaemon("lmkd"));
  EXPECT_FALSE(IsOomDaemon(""));
}

TEST_F(OomDaemonsTest, OfThisMachineToo) {
  // A process is named after its file.
  std::filesystem::copy_file("/bin/sleep", Path("earlyoom"));
  base::ChildOptions options;
  options.argv = {Path("earlyoom"), "1000"};
  const auto daemon = base::ChildProcess::Start(options);
  ASSERT_TRUE(daemon.ok()) << daemon.status();
  EXPECT_THAT(FindOomDaemons(), Contains("earlyoom"));
}

}  // namespace
}  // namespace ballast::environment

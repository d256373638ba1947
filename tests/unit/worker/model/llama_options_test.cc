#include "worker/model/llama_options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace ballast::model {
namespace {

using testing::Contains;
using testing::IsSupersetOf;
using testing::Not;

v1::ModelLoad LoadWith(v1::ModelLoad::Loader loader) {
  v1::ModelLoad load;
  load.set_loader(loader);
  load.set_context_tokens(64);
  return load;
}

TEST(LlamaFlagsTest, AreWordsOfTheHelp) {
  const LlamaFlags flags(
      "-np,   --parallel N\n  --mlock   force\n -nr, --repack, --no-repack [x]\n(see `--load-mode`).");
  for (const char* flag : {"-np", "--parallel", "--mlock", "--repack", "--no-repack", "--load-mode"}) {
    EXPECT_TRUE(flags.Has(flag)) << flag;
  }
  EXPECT_FALSE(flags.Has("--no-mmap"));
  EXPECT_FALSE(flags.Has("--load"));
  EXPECT_FALSE(LlamaFlags("").Has("--mlock"));
}

TEST(PlanLlamaServerTest, SaysWhatToLoadAndWhereToListen) {
  const auto plan = PlanLlamaServer(LlamaFlags(""), LoadWith(v1::ModelLoad::MMAP), 2, "/m.gguf", 4711);
  ASSERT_TRUE(plan.ok());
  EXPECT_THAT(plan->arguments,
              testing::ElementsAre("-m", "/m.gguf", "--host", "127.0.0.1", "--port", "4711", "-t", "2", "-c", "64"));
  EXPECT_EQ(plan->remarks.size(), 1U);  // it warms up
}

TEST(PlanLlamaServerTest, LoadersHaveModesOrFlags) {
  const LlamaFlags modes("--load-mode");
  const LlamaFlags flags("--no-mmap --direct-io --mlock");
  struct Case {
    v1::ModelLoad::Loader loader;
    const char* mode;
    const char* flag;
  };
  for (const Case& tested :
       {Case{v1::ModelLoad::MMAP, "mmap", nullptr}, Case{v1::ModelLoad::MMAP_POPULATE, "mmap", nullptr},
        Case{v1::ModelLoad::READ, "none", "--no-mmap"}, Case{v1::ModelLoad::DIRECT, "dio", "--direct-io"}}) {
    const auto with_modes = PlanLlamaServer(modes, LoadWith(tested.loader), 1, "f", 1);
    ASSERT_TRUE(with_modes.ok());
    EXPECT_THAT(with_modes->arguments, IsSupersetOf({"--load-mode", tested.mode}));
    const auto with_flags = PlanLlamaServer(flags, LoadWith(tested.loader), 1, "f", 1);
    ASSERT_TRUE(with_flags.ok());
    EXPECT_THAT(with_flags->arguments, Not(Contains("--load-mode")));
    if (tested.flag != nullptr) {
      EXPECT_THAT(with_flags->arguments, Contains(tested.flag));
    }
  }
}

TEST(PlanLlamaServerTest, ALockIsThereOrRefused) {
  v1::ModelLoad load = LoadWith(v1::ModelLoad::MMAP);
  load.set_lock(true);
  EXPECT_THAT(PlanLlamaServer(LlamaFlags("--mlock"), load, 1, "f", 1)->arguments, Contains("--mlock"));
  EXPECT_THAT(PlanLlamaServer(LlamaFlags("--load-mode"), load, 1, "f", 1)->arguments,
              IsSupersetOf({"--load-mode", "mlock"}));
  EXPECT_TRUE(absl::IsFailedPrecondition(PlanLlamaServer(LlamaFlags(""), load, 1, "f", 1).status()));
}

}  // namespace
}  // namespace ballast::model

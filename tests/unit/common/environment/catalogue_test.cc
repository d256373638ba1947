#include "common/environment/catalogue.h"

#include <filesystem>
#include <fstream>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace ballast::profiles {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr std::uint64_t kMib = 1U << 20U;

class CatalogueTest : public testing::Test {
 protected:
  CatalogueTest() {
    std::string pattern = testing::TempDir() + "/ballast_profiles_XXXXXX";
    directory_ = ::mkdtemp(pattern.data());
  }
  ~CatalogueTest() override { std::filesystem::remove_all(directory_); }

  std::filesystem::path Write(const std::string& name, const std::string& text) {
    std::ofstream(directory_ / name) << text;
    return directory_ / name;
  }

  std::filesystem::path directory_;
};

TEST_F(CatalogueTest, TheFourThatComeWithIt) {
  const auto catalogue = LoadEnvironments({});
  ASSERT_TRUE(catalogue.ok()) << catalogue.status();
  struct Promise {
    const char* name;
    const char* alias;
    std::uint64_t memory_bytes;
    std::uint64_t swap_bytes;
  };
  for (const Promise& promise :
       {Promise{"4GB连线", "4gb-swap", 3800 * kMib, 2048 * kMib}, Promise{"极限2GB模式", "2gb-noswap", 2048 * kMib, 0},
        Promise{"手机模拟", "phone-3gb", 3072 * kMib, 0}, Promise{"老旧设备", "old-2.5gb", 2560 * kMib, 0}}) {
    const v1::EnvironmentProfile* const profile = FindProfile(*catalogue, promise.name);
    ASSERT_NE(profile, nullptr) << promise.name;
    EXPECT_EQ(FindProfile(*catalogue, promise.alias), profile);
    EXPECT_EQ(profile->memory_bytes(), promise.memory_bytes);
    EXPECT_EQ(profile->swap().size_bytes(), promise.swap_bytes);
    EXPECT_FALSE(profile->description().empty());
    EXPECT_FALSE(profile->description_zh().empty());
  }
  EXPECT_EQ(catalogue->environments_size(), 4);
}

TEST_F(CatalogueTest, NamesAreFoundInAnyCaseOfAsciiLetters) {
  const auto catalogue = LoadEnvironments({});
  ASSERT_TRUE(catalogue.ok());
  EXPECT_EQ(FindProfile(*catalogue, "2GB-NoSwap")->name(), "极限2GB模式");
  EXPECT_EQ(FindProfile(*catalogue, "4gb连线")->name(), "4GB连线");
  EXPECT_EQ(FindProfile(*catalogue, "2gb"), nullptr);
  EXPECT_EQ(FindProfile(*catalogue, ""), nullptr);
}

TEST_F(CatalogueTest, TheUsersStandBeforeTheProgramsNameByName) {
  const auto first = Write("first.yaml",
                           "environments:\n"
                           "  - {name: 极限2GB模式, memory_bytes: 1900MiB}\n"
                           "  - {name: mine, aliases: [phone-3gb], memory_bytes: 1GiB}\n");
  const auto second = Write("second.yaml",
                            "environments:\n"
                            "  - {name: mine, memory_bytes: 5GiB}\n"
                            "  - {name: second, aliases: [老旧设备], memory_bytes: 512MiB}\n");
  const auto catalogue = LoadEnvironments({first, second});
  ASSERT_TRUE(catalogue.ok()) << catalogue.status();
  EXPECT_EQ(FindProfile(*catalogue, "极限2GB模式")->memory_bytes(), 1900 * kMib);
  EXPECT_EQ(FindProfile(*catalogue, "2gb-noswap"), nullptr) << "a profile is the user's as a whole";
  EXPECT_EQ(FindProfile(*catalogue, "mine")->memory_bytes(), 1024 * kMib) << "the first file counts";
  EXPECT_EQ(FindProfile(*catalogue, "phone-3gb")->name(), "mine");
  EXPECT_THAT(FindProfile(*catalogue, "手机模拟")->aliases(), ElementsAre()) << "its alias is taken";
  EXPECT_EQ(FindProfile(*catalogue, "老旧设备")->name(), "second");
  EXPECT_EQ(FindProfile(*catalogue, "old-2.5gb"), nullptr) << "left out: its name is taken";
  EXPECT_EQ(FindProfile(*catalogue, "4gb-swap")->name(), "4GB连线");
}

TEST_F(CatalogueTest, EveryMistakeHasItsPlace) {
  const auto file = Write("env.yaml",
                          "environments:\n"
                          "  - {name: a, memory_byte: 1GiB}\n"
                          "  - {name: \"a b\", memory_bytes: 1KiB}\n"
                          "  - {memory_bytes: 1GiB}\n");
  const std::string message(LoadEnvironments({file}).status().message());
  EXPECT_THAT(message, HasSubstr(file.string() + ":2:15: unknown key 'memory_byte'"));
  EXPECT_THAT(message, HasSubstr("did you mean 'memory_bytes'?"));
  EXPECT_THAT(message, HasSubstr(file.string() + ":3:12: "));
  EXPECT_THAT(message, HasSubstr(file.string() + ":3:33: "));
  EXPECT_THAT(message, HasSubstr(file.string() + ":4:5: "));
  EXPECT_TRUE(absl::IsNotFound(LoadEnvironments({directory_ / "none.yaml"}).status()));
  const auto clash = Write("clash.yaml", "environments:\n  - {name: a, aliases: [b, B], memory_bytes: 1GiB}\n");
  EXPECT_THAT(std::string(LoadEnvironments({clash}).status().message()), HasSubstr(clash.string() + ":2:28: "));
}

TEST_F(CatalogueTest, ANameThatIsNotThereIsAnsweredWithTheNearest) {
  const auto catalogue = LoadEnvironments({});
  ASSERT_TRUE(catalogue.ok());
  const absl::Status near = GetProfile(*catalogue, "2gb-noswp").status();
  EXPECT_TRUE(absl::IsNotFound(near));
  EXPECT_THAT(near.message(), HasSubstr("'2gb-noswp'; did you mean '2gb-noswap'?"));
  EXPECT_THAT(GetProfile(*catalogue, "极限2GB模").status().message(), HasSubstr("did you mean '极限2GB模式'"));
  EXPECT_THAT(GetProfile(*catalogue, "server").status().message(),
              HasSubstr("there are 4GB连线 (4gb-swap), 极限2GB模式 (2gb-noswap), "));
}

TEST_F(CatalogueTest, AJobGetsTheProfileThatItNames) {
  const auto catalogue = LoadEnvironments({});
  ASSERT_TRUE(catalogue.ok());
  v1::JobSpec spec;
  ASSERT_TRUE(ResolveEnvironment(*catalogue, &spec).ok());
  EXPECT_FALSE(spec.has_environment_profile()) << "the device as it is";
  spec.set_environment("2gb-noswap");
  ASSERT_TRUE(ResolveEnvironment(*catalogue, &spec).ok());
  EXPECT_EQ(spec.environment(), "极限2GB模式");
  EXPECT_EQ(spec.environment_profile().memory_bytes(), 2048 * kMib);
  EXPECT_EQ(spec.environment_profile().swap().kind(), v1::SwapLimit::NONE) << "with its defaults";
  spec.Clear();
  spec.set_environment("none");
  EXPECT_TRUE(absl::IsNotFound(ResolveEnvironment(*catalogue, &spec)));
}

TEST_F(CatalogueTest, AProfileOfTheJobsOwnStays) {
  const auto catalogue = LoadEnvironments({});
  ASSERT_TRUE(catalogue.ok());
  v1::JobSpec spec;
  spec.mutable_environment_profile()->set_name("手机模拟");
  spec.mutable_environment_profile()->add_aliases("mine");
  spec.mutable_environment_profile()->set_memory_bytes(64 * kMib);
  ASSERT_TRUE(ResolveEnvironment(*catalogue, &spec).ok());
  EXPECT_EQ(spec.environment(), "手机模拟");
  EXPECT_EQ(spec.environment_profile().memory_bytes(), 64 * kMib) << "not the catalogue's of the same name";
  spec.set_environment("MINE");
  ASSERT_TRUE(ResolveEnvironment(*catalogue, &spec).ok());
  EXPECT_EQ(spec.environment(), "手机模拟");
  spec.set_environment("2gb-noswap");
  const absl::Status other = ResolveEnvironment(*catalogue, &spec);
  EXPECT_TRUE(absl::IsInvalidArgument(other));
  EXPECT_THAT(other.message(), HasSubstr("it names '2gb-noswap', but `environment_profile` is '手机模拟'"));
}

}  // namespace
}  // namespace ballast::profiles

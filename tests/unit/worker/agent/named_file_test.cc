#include "worker/agent/named_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "common/base/file.h"

namespace ballast::agent {
namespace {

class NamedFileTest : public testing::Test {
 protected:
  NamedFileTest() {
    std::string name = testing::TempDir() + "/ballast_named_file_XXXXXX";
    // Without links, as the directory of temporary files may have some.
    directory_ = std::filesystem::canonical(::mkdtemp(name.data()));
    for (const char* const file : {"models/sub/a.gguf", "models2/b.gguf", "secret"}) {
      std::filesystem::create_directories((directory_ / file).parent_path());
      EXPECT_TRUE(base::WriteFileAtomically(directory_ / file, file).ok());
    }
  }
  ~NamedFileTest() override { std::filesystem::remove_all(directory_); }

  absl::StatusOr<NamedFile> Open(const std::filesystem::path& path, std::vector<std::filesystem::path> directories) {
    return OpenNamedFile(path.string(), directories);
  }
  absl::StatusCode CodeOf(const std::filesystem::path& path) {
    return Open(path, {directory_ / "models"}).status().code();
  }

  std::filesystem::path directory_;
};

TEST_F(NamedFileTest, OpensWhatLiesBelowADirectory) {
  const std::filesystem::path file = directory_ / "models/sub/a.gguf";
  for (const std::filesystem::path& directory :
       {directory_ / "models", directory_ / "models/", std::filesystem::path("/"), directory_ / "models/sub"}) {
    const auto opened = Open(file, {"/nowhere", directory});
    ASSERT_TRUE(opened.ok()) << directory << opened.status();
    EXPECT_EQ(opened->path, file);
    EXPECT_TRUE(opened->fd.valid());
  }
}

TEST_F(NamedFileTest, RefusesWhatLiesElsewhere) {
  EXPECT_EQ(CodeOf(directory_ / "secret"), absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(CodeOf(directory_ / "models2/b.gguf"), absl::StatusCode::kPermissionDenied) << "a name that begins alike";
  EXPECT_EQ(CodeOf(directory_ / "models/../secret"), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(CodeOf("models/sub/a.gguf"), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(CodeOf(""), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(CodeOf(std::string("/tmp\0/x", 7)), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(CodeOf(directory_ / "models/none"), absl::StatusCode::kNotFound);
  EXPECT_EQ(Open(directory_ / "models/sub/a.gguf", {}).status().code(), absl::StatusCode::kPermissionDenied);
}

TEST_F(NamedFileTest, FollowsLinksBeforeItLooksWhere) {
  std::filesystem::create_symlink(directory_ / "secret", directory_ / "models/out.gguf");
  std::filesystem::create_directory_symlink(directory_, directory_ / "models/up");
  std::filesystem::create_symlink(directory_ / "models/sub/a.gguf", directory_ / "in.gguf");
  std::filesystem::create_directory_symlink(directory_ / "models", directory_ / "linked");
  EXPECT_EQ(CodeOf(directory_ / "models/out.gguf"), absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(CodeOf(directory_ / "models/up/secret"), absl::StatusCode::kPermissionDenied);
  const auto in = Open(directory_ / "in.gguf", {directory_ / "linked"});
  ASSERT_TRUE(in.ok()) << in.status();
  EXPECT_EQ(in->path, directory_ / "models/sub/a.gguf");
}

TEST_F(NamedFileTest, OpensNothingThatIsNoRegularFile) {
  ASSERT_EQ(::mkfifo((directory_ / "models/pipe").c_str(), 0600), 0);
  EXPECT_EQ(CodeOf(directory_ / "models/pipe"), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(CodeOf(directory_ / "models/sub"), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(Open("/dev/null", {"/"}).status().code(), absl::StatusCode::kFailedPrecondition);
}

}  // namespace
}  // namespace ballast::agent

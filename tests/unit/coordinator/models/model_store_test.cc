#include "coordinator/models/model_store.h"

#include <algorithm>
#include <string>
#include <utility>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/models/catalogue.h"
#include "tests/unit/common/base/small_disk.h"
#include "tests/unit/common/models/model_files.h"

namespace ballast::models {
namespace {

using ::testing::HasSubstr;

v1::PushModelStart StartOf(const std::string& content, const std::string& quant = "Q4_0") {
  v1::PushModelStart start;
  start.set_model_id("mine");
  start.set_quant(quant);
  start.mutable_file()->set_size_bytes(content.size());
  start.mutable_file()->set_sha256(DigestOf(content));
  return start;
}

// Appends from where the push stands up to `end`.
absl::Status Send(ModelStore::Push* push, const std::string& content, std::size_t end = std::string::npos) {
  end = std::min(end, content.size());
  while (push->stored_bytes() < end) {
    v1::FilePiece piece;
    piece.set_offset_bytes(push->stored_bytes());
    piece.set_content(
        content.substr(push->stored_bytes(), std::min<std::size_t>(1U << 20U, end - push->stored_bytes())));
    if (absl::Status status = push->Append(piece); !status.ok()) return status;
  }
  return absl::OkStatus();
}

class ModelStoreTest : public DirectoryTest {
 protected:
  ModelStoreTest() { Reopen(); }

  void Reopen(ModelStoreOptions options = {}) {
    store_.reset();
    options.directory = directory_ / "models";
    auto store = ModelStore::Open(std::move(options));
    ASSERT_TRUE(store.ok()) << store.status();
    store_ = *std::move(store);
  }
  absl::Status Push(const std::string& content, const std::string& quant = "Q4_0") {
    auto push = store_->Begin(StartOf(content, quant), {});
    if (!push.ok()) return push.status();
    if (absl::Status status = Send(push->get(), content); !status.ok()) return status;
    return (*push)->Finish();
  }
  [[nodiscard]] std::size_t FileCount() const {
    return static_cast<std::size_t>(
        std::ranges::count_if(std::filesystem::directory_iterator(directory_ / "models"),
                              [](const auto& entry) { return entry.path().filename() != "pushed.yaml"; }));
  }

  std::unique_ptr<ModelStore> store_;
};

TEST_F(ModelStoreTest, KeepsWhatWasPushedOverARestart) {
  const std::string content = TinyModel();
  ASSERT_TRUE(Push(content).ok()) << Push(content);
  Reopen();
  EXPECT_EQ(base::ReadFile(store_->PathOf(DigestOf(content)), 1U << 30U).value(), content);
  const v1::ModelCatalogue pushed = store_->pushed();
  ASSERT_EQ(pushed.models_size(), 1);
  EXPECT_EQ(pushed.models(0).levels(0).file().sha256(), DigestOf(content));
  EXPECT_EQ(pushed.models(0).levels(0).file().size_bytes(), content.size());
}

TEST_F(ModelStoreTest, GoesOnWithAPushThatWasBrokenOff) {
  const std::string content = TinyModel();
  {
    auto push = store_->Begin(StartOf(content), {});
    ASSERT_TRUE(push.ok()) << push.status();
    ASSERT_TRUE(Send(push->get(), content, content.size() / 2).ok());
  }
  Reopen();
  auto push = store_->Begin(StartOf(content), {});
  ASSERT_TRUE(push.ok()) << push.status();
  EXPECT_EQ((*push)->stored_bytes(), content.size() / 2);
  ASSERT_TRUE(Send(push->get(), content).ok());
  EXPECT_TRUE((*push)->Finish().ok());
}

TEST_F(ModelStoreTest, WhatIsThereAlreadyIsOnlyEntered) {
  const std::string content = TinyModel();
  ASSERT_TRUE(Push(content).ok());
  auto push = store_->Begin(StartOf(content, "Q9"), {});
  ASSERT_TRUE(push.ok());
  EXPECT_TRUE((*push)->complete());
  ASSERT_TRUE((*push)->Finish().ok());
  EXPECT_EQ(store_->pushed().models(0).levels_size(), 2);
  EXPECT_EQ(FileCount(), 1U);
}

TEST_F(ModelStoreTest, WhatWasNotAnnouncedIsRefusedAndRemoved) {
  const std::string content = TinyModel();
  std::string changed = content;
  changed[content.size() - 1] ^= 1;
  auto push = store_->Begin(StartOf(content), {});
  ASSERT_TRUE(push.ok());
  ASSERT_TRUE(Send(push->get(), changed).ok());
  const absl::Status status = (*push)->Finish();
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  EXPECT_THAT(status.message(), HasSubstr(DigestOf(changed)));
  EXPECT_EQ(store_->pushed().models_size(), 0);
  EXPECT_EQ(FileCount(), 0U);
}

TEST_F(ModelStoreTest, WhatIsNoModelIsRefusedAndRemoved) {
  const std::string model = TinyModel();
  for (const std::string& content : {std::string("no model at all"), model.substr(0, model.size() / 2)}) {
    const absl::Status status = Push(content);
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
    EXPECT_EQ(FileCount(), 0U);
  }
}

TEST_F(ModelStoreTest, APushThatDoesNotFollowIsRefused) {
  const std::string content = TinyModel();
  auto push = store_->Begin(StartOf(content), {});
  ASSERT_TRUE(push.ok());
  EXPECT_TRUE(absl::IsAborted(store_->Begin(StartOf(content, "Q8_0"), {}).status())) << "one push a file";
  v1::FilePiece piece;
  piece.set_offset_bytes(5);
  piece.set_content("x");
  EXPECT_THAT((*push)->Append(piece).message(), HasSubstr("byte 5 came where byte 0 follows"));
  v1::PushModelStart nameless = StartOf(content);
  nameless.mutable_file()->clear_sha256();
  EXPECT_TRUE(absl::IsInvalidArgument(store_->Begin(nameless, {}).status()));
}

TEST_F(ModelStoreTest, RemovesTheFileWithItsLastEntry) {
  const std::string content = TinyModel();
  ASSERT_TRUE(Push(content, "A").ok());
  ASSERT_TRUE(Push(content, "B").ok());
  EXPECT_TRUE(store_->Remove("mine", "A").ok());
  EXPECT_EQ(FileCount(), 1U);
  EXPECT_TRUE(store_->Remove("mine", "B").ok());
  EXPECT_EQ(FileCount(), 0U);
  EXPECT_EQ(store_->pushed().models_size(), 0);
  EXPECT_TRUE(absl::IsNotFound(store_->Remove("mine", "B")));
}

TEST_F(ModelStoreTest, AnotherFileUnderTheSameNameTakesItsPlace) {
  ASSERT_TRUE(Push(TinyModel(1)).ok());
  ASSERT_TRUE(Push(TinyModel(2)).ok());
  ASSERT_EQ(store_->pushed().models(0).levels_size(), 1);
  EXPECT_EQ(store_->pushed().models(0).levels(0).file().sha256(), DigestOf(TinyModel(2)));
  EXPECT_EQ(FileCount(), 2U) << "a job that is going on may need the first";
  Reopen({.keep_unused = std::chrono::hours(-1)});
  EXPECT_EQ(FileCount(), 1U);
  EXPECT_TRUE(std::filesystem::exists(store_->PathOf(DigestOf(TinyModel(2)))));
}

TEST_F(ModelStoreTest, ADamagedIndexIsNotWrittenOver) {
  ASSERT_TRUE(Push(TinyModel()).ok());
  store_.reset();
  ASSERT_TRUE(base::WriteFileAtomically(directory_ / "models/pushed.yaml", "models: [{\n").ok());
  const auto store = ModelStore::Open({.directory = directory_ / "models"});
  EXPECT_TRUE(absl::IsDataLoss(store.status())) << store.status();
  EXPECT_THAT(store.status().message(), HasSubstr("pushed.yaml:"));
  EXPECT_EQ(FileCount(), 1U);
}

TEST(ModelStoreOnAFullDiskTest, KeepsAPushThatOthersLeftNoRoomFor) {
  const base::SmallDisk disk(96U << 20U);
  if (!disk.problem().empty()) GTEST_SKIP() << disk.problem();
  auto store = ModelStore::Open({.directory = disk.path() / "models", .reserve_bytes = 8U << 20U});
  ASSERT_TRUE(store.ok()) << store.status();
  const std::string content = std::string(64U << 20U, 'x');  // whether it is a model shows at the end
  auto push = (*store)->Begin(StartOf(content), {});
  ASSERT_TRUE(push.ok()) << push.status();
  ASSERT_TRUE(Send(push->get(), content, 16U << 20U).ok());
  disk.Fill(40U << 20U);
  const absl::Status status = Send(push->get(), content);
  EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
  push->reset();
  EXPECT_TRUE(absl::IsResourceExhausted((*store)->Begin(StartOf(content), {}).status()));
  disk.Free();
  push = (*store)->Begin(StartOf(content), {});
  ASSERT_TRUE(push.ok()) << push.status();
  EXPECT_GE((*push)->stored_bytes(), 16U << 20U);
}

}  // namespace
}  // namespace ballast::models

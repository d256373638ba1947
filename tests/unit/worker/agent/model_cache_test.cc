#include "worker/agent/model_cache.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/base/file.h"
#include "common/base/sha256.h"
#include "common/gguf/quant_mix.h"
#include "common/gguf/synthetic_model.h"
#include "tests/unit/common/base/small_disk.h"

namespace ballast::agent {
namespace {

using std::chrono::seconds;
using ::testing::AllOf;
using ::testing::HasSubstr;

std::string DigestOf(const std::string& content) {
  base::Sha256 sha256;
  sha256.Update(content);
  return sha256.Finish();
}

// A coordinator with files in memory. Works; can be told to fail. Thread-safe.
class FakeFetcher final : public ModelFetcher {
 public:
  // Returns what a worker is told of the file.
  v1::ResolvedModel Add(const std::string& content, const std::string& quant = "Q4_0") {
    v1::ResolvedModel model;
    model.set_model_id("mine");
    model.set_quant(quant);
    model.mutable_file()->set_sha256(DigestOf(content));
    model.mutable_file()->set_size_bytes(content.size());
    model.mutable_description()->set_file_bytes(content.size());
    model.mutable_description()->set_weight_bytes(content.size());
    const std::scoped_lock lock(mutex_);
    files_[model.file().sha256()] = content;
    return model;
  }

  // From now on other bytes come under the file's digest.
  void Replace(const v1::ResolvedModel& model, const std::string& content) {
    const std::scoped_lock lock(mutex_);
    files_[model.file().sha256()] = content;
  }

  [[nodiscard]] bool same_machine() const override { return !local_path.empty(); }
  absl::Status Fetch(const v1::FetchModelRequest& request,
                     const std::function<absl::Status(const v1::FilePiece&)>& visit,
                     std::chrono::steady_clock::time_point deadline, const std::stop_token& stop) override {
    ++fetch_count;
    v1::FilePiece piece;
    if (request.accept_local_path() && !local_path.empty()) {
      piece.set_local_path(local_path);
      return visit(piece);
    }
    if (failures_left > 0) {
      --failures_left;
      return absl::UnavailableError("nothing answers there");
    }
    std::string content;
    {
      const std::scoped_lock lock(mutex_);
      const auto file = files_.find(request.sha256());
      if (file == files_.end()) return absl::NotFoundError("no such file");
      content = file->second;
    }
    for (std::uint64_t position = request.offset_bytes(); position < content.size();) {
      if (stop.stop_requested()) return absl::CancelledError("stopped");
      if (std::chrono::steady_clock::now() > deadline) return absl::DeadlineExceededError("too late");
      const std::uint64_t size = std::min<std::uint64_t>(piece_bytes, content.size() - position);
      piece.set_offset_bytes(position);
      piece.set_content(content.substr(position, size));
      sent_bytes += size;
      if (absl::Status status = visit(piece); !status.ok()) return status;
      position += size;
      if (break_after_bytes > 0 && sent_bytes >= break_after_bytes) {
        break_after_bytes = 0;
        return absl::UnavailableError("the connection was reset");
      }
    }
    return absl::OkStatus();
  }

  std::uint64_t piece_bytes = 64U << 10U;
  std::string local_path;
  std::atomic<int> failures_left{0};
  std::atomic<std::uint64_t> break_after_bytes{0};
  std::atomic<std::uint64_t> sent_bytes{0};
  std::atomic<int> fetch_count{0};

 private:
  std::mutex mutex_;
  std::map<std::string, std::string> files_;
};

class ModelCacheTest : public ::testing::Test {
 protected:
  ModelCacheTest() {
    std::string name = (std::filesystem::temp_directory_path() / "ballast-cache-XXXXXX").string();
    directory_ = ::mkdtemp(name.data());
    Open();
  }
  ~ModelCacheTest() override {
    cache_.reset();
    std::filesystem::remove_all(directory_);
  }

  void Open(ModelCacheOptions options = {}) {
    cache_.reset();
    if (options.directory.empty()) options.directory = directory_;
    options.min_retry = std::chrono::milliseconds(1);
    options.max_retry = std::chrono::milliseconds(5);
    auto cache = ModelCache::Open(std::move(options), &fetcher_);
    ASSERT_TRUE(cache.ok()) << cache.status();
    cache_ = *std::move(cache);
  }
  absl::StatusOr<ReadyModel> Prepare(const v1::ResolvedModel& model, PrepareOptions options = {},
                                     std::stop_token stop = {}) {
    if (options.timeout == PrepareOptions().timeout) options.timeout = seconds(30);
    return cache_->Prepare(model, v1::ModelLoad(), options, std::move(stop));
  }
  [[nodiscard]] bool Has(const v1::ResolvedModel& model) const {
    return std::filesystem::exists(directory_ / (model.file().sha256() + ".gguf"));
  }
  static v1::ResolvedModel Synthetic(const std::string& quant, std::uint64_t seed = 1) {
    v1::ResolvedModel model;
    model.set_model_id("tiny");
    model.set_quant(quant);
    model.mutable_synthetic()->set_shape("tiny");
    model.mutable_synthetic()->set_seed(seed);
    const gguf::SyntheticModel plan(gguf::FindShape("tiny").value(), gguf::FindQuantLevel(quant).value(), seed);
    model.mutable_description()->set_file_bytes(plan.file_size_bytes());
    return model;
  }

  const std::string content_ = std::string(3'000'000, 'm') + "end";
  std::filesystem::path directory_;
  FakeFetcher fetcher_;
  std::unique_ptr<ModelCache> cache_;
};

TEST_F(ModelCacheTest, FetchesOnceAndNotForEachRun) {
  const v1::ResolvedModel model = fetcher_.Add(content_);
  const auto first = Prepare(model);
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_EQ(first->file_source, "fetched");
  ASSERT_EQ(first->paths.size(), 1U);
  EXPECT_TRUE(first->paths[0].is_absolute());
  EXPECT_EQ(base::ReadFile(first->paths[0]).value(), content_);
  const auto second = Prepare(model);
  ASSERT_TRUE(second.ok());
  EXPECT_EQ(second->file_source, "present");
  EXPECT_EQ(second->paths, first->paths);
  EXPECT_EQ(fetcher_.sent_bytes, content_.size());
}

TEST_F(ModelCacheTest, AFileThatWasChangedIsFetchedAnew) {
  const v1::ResolvedModel model = fetcher_.Add(content_);
  const std::filesystem::path path = Prepare(model)->paths[0];
  std::filesystem::permissions(path, std::filesystem::perms::owner_all);
  { ASSERT_EQ(::pwrite(base::OpenFile(path, O_WRONLY)->get(), "x", 1, 0), 1); }
  const auto again = Prepare(model);
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(again->file_source, "fetched");
  EXPECT_EQ(base::ReadFile(path).value(), content_);
}

TEST_F(ModelCacheTest, GoesOnWhenTheCoordinatorWasAway) {
  const v1::ResolvedModel model = fetcher_.Add(content_);
  fetcher_.break_after_bytes = 1'000'000;
  const auto ready = Prepare(model);
  ASSERT_TRUE(ready.ok()) << ready.status();
  EXPECT_EQ(fetcher_.sent_bytes, content_.size()) << "nothing comes twice";
  fetcher_.failures_left = 20;
  EXPECT_TRUE(Prepare(fetcher_.Add("other")).ok());
}

TEST_F(ModelCacheTest, GoesOnWhereTheLastCallWasBrokenOff) {
  const v1::ResolvedModel model = fetcher_.Add(content_);
  std::stop_source stop;
  PrepareOptions options;
  options.on_progress = [&stop](const PrepareProgress&) { stop.request_stop(); };
  EXPECT_TRUE(absl::IsCancelled(Prepare(model, options, stop.get_token()).status()));
  EXPECT_FALSE(Has(model));
  const std::uint64_t before = fetcher_.sent_bytes;
  ASSERT_GT(before, 0U);
  ASSERT_LT(before, content_.size());
  Open();  // as after a restart of the worker
  const auto ready = Prepare(model);
  ASSERT_TRUE(ready.ok()) << ready.status();
  EXPECT_EQ(base::ReadFile(ready->paths[0]).value(), content_);
  EXPECT_EQ(fetcher_.sent_bytes, content_.size());
}

TEST_F(ModelCacheTest, WaitsNoLongerThanItMay) {
  const v1::ResolvedModel model = fetcher_.Add(content_);
  fetcher_.failures_left = 1'000'000;
  const absl::Status late = Prepare(model, {.timeout = std::chrono::milliseconds(50)}).status();
  EXPECT_TRUE(absl::IsDeadlineExceeded(late)) << late;
  EXPECT_THAT(late.message(), HasSubstr("mine Q4_0"));
  std::stop_source stop;
  const std::jthread stopper([&stop] { stop.request_stop(); });
  EXPECT_TRUE(absl::IsCancelled(Prepare(model, {}, stop.get_token()).status()));
}

TEST_F(ModelCacheTest, WhatIsNotWhatWasAnnouncedIsRefusedAndRemoved) {
  const v1::ResolvedModel model = fetcher_.Add(content_);
  std::string changed = content_;
  changed[5] = 'x';
  fetcher_.Replace(model, changed);
  const absl::Status status = Prepare(model).status();
  EXPECT_TRUE(absl::IsDataLoss(status)) << status;
  EXPECT_THAT(status.message(), HasSubstr(DigestOf(changed)));
  EXPECT_TRUE(std::filesystem::is_empty(directory_));
  fetcher_.Replace(model, content_.substr(0, 1'000));
  const absl::Status shorter = Prepare(model).status();
  EXPECT_TRUE(absl::IsDataLoss(shorter)) << shorter;
  EXPECT_THAT(shorter.message(), HasSubstr("were announced"));
  EXPECT_FALSE(Has(model));
}

TEST_F(ModelCacheTest, DamageInWhatWasHereIsMendedByFetchingItAll) {
  const v1::ResolvedModel model = fetcher_.Add(content_);
  std::string damaged = content_.substr(0, 1'000'000);
  damaged[10] = 'x';
  ASSERT_TRUE(base::WriteFileAtomically(directory_ / (model.file().sha256() + ".gguf.partial"), damaged).ok());
  const auto ready = Prepare(model);
  ASSERT_TRUE(ready.ok()) << ready.status();
  EXPECT_EQ(base::ReadFile(ready->paths[0]).value(), content_);
}

TEST_F(ModelCacheTest, WhatTheCoordinatorDoesNotHaveEndsAtOnce) {
  v1::ResolvedModel model = fetcher_.Add(content_);
  model.mutable_file()->set_sha256(std::string(64, 'e'));
  EXPECT_TRUE(absl::IsNotFound(Prepare(model).status()));
  model.mutable_file()->set_sha256("../../etc/passwd");
  EXPECT_TRUE(absl::IsInvalidArgument(Prepare(model).status()));
}

TEST_F(ModelCacheTest, CallsForOneFileShareOneTransfer) {
  const v1::ResolvedModel model = fetcher_.Add(content_);
  std::vector<std::jthread> threads;
  std::atomic<int> fetched{0};
  std::atomic<int> present{0};
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      const auto ready = Prepare(model);
      ASSERT_TRUE(ready.ok()) << ready.status();
      ++(ready->file_source == "fetched" ? fetched : present);
    });
  }
  threads.clear();
  EXPECT_EQ(fetched, 1);
  EXPECT_EQ(present, 7);
  EXPECT_EQ(fetcher_.sent_bytes, content_.size());
}

TEST_F(ModelCacheTest, WhatWasNotUsedForTheLongestTimeGoesFirst) {
  Open({.quota_bytes = 5'000'000});
  const v1::ResolvedModel a = fetcher_.Add(std::string(2'000'000, 'a'));
  const v1::ResolvedModel b = fetcher_.Add(std::string(2'000'000, 'b'));
  const v1::ResolvedModel c = fetcher_.Add(std::string(2'000'000, 'c'));
  ASSERT_TRUE(Prepare(a).ok());
  ASSERT_TRUE(Prepare(b).ok());
  ASSERT_TRUE(Prepare(a).ok());  // used again: now b is the one
  const auto ready = Prepare(c);
  ASSERT_TRUE(ready.ok()) << ready.status();
  EXPECT_TRUE(Has(a));
  EXPECT_FALSE(Has(b));
  EXPECT_TRUE(Has(c));
}

TEST_F(ModelCacheTest, WhatIsInUseStays) {
  Open({.quota_bytes = 5'000'000});
  const v1::ResolvedModel a = fetcher_.Add(std::string(2'000'000, 'a'));
  const v1::ResolvedModel b = fetcher_.Add(std::string(2'000'000, 'b'));
  const v1::ResolvedModel c = fetcher_.Add(std::string(2'000'000, 'c'));
  auto held_a = Prepare(a);
  auto held_b = Prepare(b);
  ASSERT_TRUE(held_a.ok() && held_b.ok());
  const absl::Status full = Prepare(c).status();
  EXPECT_TRUE(absl::IsResourceExhausted(full)) << full;
  EXPECT_THAT(full.message(), HasSubstr("--model-quota"));
  held_b->lease.reset();
  EXPECT_TRUE(Prepare(c).ok());
  EXPECT_TRUE(Has(a));
  EXPECT_FALSE(Has(b));
}

TEST_F(ModelCacheTest, MoreThanTheQuotaIsRefusedBeforeAnythingIsFetched) {
  Open({.quota_bytes = 1'000'000});
  const absl::Status status = Prepare(fetcher_.Add(content_)).status();
  EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
  EXPECT_EQ(fetcher_.fetch_count, 0);
}

TEST_F(ModelCacheTest, WhatCannotFitInMemoryIsRefusedBeforeAnythingIsFetched) {
  const v1::ResolvedModel model = fetcher_.Add(content_);
  v1::ModelLoad load;
  load.set_loader(v1::ModelLoad::READ);
  const auto prepare = [&] { return cache_->Prepare(model, load, {.limit_bytes = 1'000'000}, {}); };
  const absl::Status status = prepare().status();
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_THAT(status.message(), AllOf(HasSubstr("mine Q4_0"), HasSubstr("--force"), HasSubstr("977 KiB")));
  EXPECT_EQ(fetcher_.fetch_count, 0);
  load.set_force(true);
  const auto forced = prepare();
  ASSERT_TRUE(forced.ok()) << forced.status();
  EXPECT_GT(forced->estimate.required_bytes(), 1'000'000U);
}

TEST_F(ModelCacheTest, TellsHowFarItIs) {
  const v1::ResolvedModel model = fetcher_.Add(content_);
  std::uint64_t last = 0;
  PrepareOptions options;
  options.on_progress = [&](const PrepareProgress& progress) {
    EXPECT_EQ(progress.total_bytes, content_.size());
    EXPECT_GE(progress.done_bytes, last);
    last = progress.done_bytes;
  };
  ASSERT_TRUE(Prepare(model, options).ok());
  EXPECT_EQ(last, content_.size());
}

TEST_F(ModelCacheTest, UsesTheCoordinatorsFileWhereItLies) {
  const v1::ResolvedModel model = fetcher_.Add(content_);
  const std::filesystem::path file = directory_ / "coordinators.gguf";
  ASSERT_TRUE(base::WriteFileAtomically(file, content_).ok());
  fetcher_.local_path = file.string();
  Open({.named_directories = {directory_}});
  const auto ready = Prepare(model);
  ASSERT_TRUE(ready.ok()) << ready.status();
  EXPECT_EQ(ready->file_source, "present");
  EXPECT_EQ(ready->paths[0], file);
  EXPECT_EQ(fetcher_.sent_bytes, 0U);
}

TEST_F(ModelCacheTest, FetchesWhereTheCoordinatorsFileIsNotThatFile) {
  const v1::ResolvedModel model = fetcher_.Add(content_);
  ASSERT_TRUE(base::WriteFileAtomically(directory_ / "short.gguf", "short").ok());
  Open({.named_directories = {directory_}});
  for (const std::string& path : {(directory_ / "short.gguf").string(), (directory_ / "none").string(),
                                  directory_.string(), std::string("relative")}) {
    fetcher_.local_path = path;
    EXPECT_EQ(Prepare(model)->file_source, "fetched") << path;
    std::filesystem::remove(directory_ / (model.file().sha256() + ".gguf"));
  }
}

TEST_F(ModelCacheTest, FetchesWhereTheDeviceDoesNotGiveThePathAway) {
  const v1::ResolvedModel model = fetcher_.Add(content_);
  const std::filesystem::path file = directory_ / "coordinators.gguf";
  ASSERT_TRUE(base::WriteFileAtomically(file, content_).ok());
  std::filesystem::create_directory(directory_ / "models");
  std::filesystem::create_symlink(file, directory_ / "models" / "link.gguf");
  for (const auto& [path, directories] : {std::pair{file, std::vector<std::filesystem::path>{}},
                                          {file, {directory_ / "models"}},
                                          {directory_ / "models" / "link.gguf", {directory_ / "models"}}}) {
    Open({.named_directories = directories});
    fetcher_.local_path = path.string();
    EXPECT_EQ(Prepare(model)->file_source, "fetched") << path;
    std::filesystem::remove(directory_ / (model.file().sha256() + ".gguf"));
  }
}

TEST_F(ModelCacheTest, MakesSyntheticModelsOnce) {
  const v1::ResolvedModel model = Synthetic("Q4_K_M");
  const auto first = Prepare(model);
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_EQ(first->file_source, "created");
  EXPECT_EQ(std::filesystem::file_size(first->paths[0]), model.description().file_bytes());
  EXPECT_TRUE(gguf::ReadModelFile(first->paths[0]).ok());
  const auto second = Prepare(model);
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_EQ(second->file_source, "present");
  const auto other = Prepare(Synthetic("Q4_K_M", 2));
  ASSERT_TRUE(other.ok());
  EXPECT_EQ(other->file_source, "created");
  EXPECT_NE(other->paths, first->paths);
}

TEST_F(ModelCacheTest, ASyntheticModelThatWasChangedIsMadeAnew) {
  const auto first = Prepare(Synthetic("Q2_K"));
  ASSERT_TRUE(first.ok()) << first.status();
  const std::string content = base::ReadFile(first->paths[0], 1U << 30U).value();
  std::filesystem::resize_file(first->paths[0], 1000);
  const auto again = Prepare(Synthetic("Q2_K"));
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->file_source, "created");
  EXPECT_EQ(base::ReadFile(again->paths[0], 1U << 30U).value(), content);
}

TEST_F(ModelCacheTest, WhatThisWorkerCannotMakeIsNamed) {
  v1::ResolvedModel model = Synthetic("Q2_K");
  model.mutable_synthetic()->set_shape("gigantic");
  EXPECT_THAT(Prepare(model).status().message(), HasSubstr("gigantic"));
}

class FullDiskTest : public ModelCacheTest {
 protected:
  void SetUp() override {
    if (!disk_.problem().empty()) GTEST_SKIP() << disk_.problem();
    Open({.directory = disk_.path() / "models", .reserve_bytes = 4U << 20U});
  }
  void TearDown() override { cache_.reset(); }

  const base::SmallDisk disk_{96U << 20U};
};

TEST_F(FullDiskTest, IsSeenBeforeAnythingIsFetched) {
  disk_.Fill(60U << 20U);
  const absl::Status status = Prepare(fetcher_.Add(std::string(40U << 20U, 'x'))).status();
  EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
  EXPECT_THAT(status.message(), HasSubstr("has no room"));
  EXPECT_EQ(fetcher_.sent_bytes, 0U);
}

TEST_F(FullDiskTest, OldFilesMakeRoom) {
  ASSERT_TRUE(Prepare(fetcher_.Add(std::string(40U << 20U, 'a'))).ok());
  ASSERT_TRUE(Prepare(fetcher_.Add(std::string(40U << 20U, 'b'))).ok());
  EXPECT_TRUE(Prepare(fetcher_.Add(std::string(40U << 20U, 'c'))).ok());
}

TEST_F(FullDiskTest, InMidFetchKeepsWhatCame) {
  const std::string content(70U << 20U, 'x');
  const v1::ResolvedModel model = fetcher_.Add(content);
  PrepareOptions options;
  bool filled = false;
  options.on_progress = [&](const PrepareProgress&) {
    if (!std::exchange(filled, true)) disk_.Fill(40U << 20U);
  };
  const absl::Status status = Prepare(model, options).status();
  EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
  const std::uint64_t came = fetcher_.sent_bytes;
  EXPECT_GE(came, 32U << 20U);
  disk_.Free();
  const auto ready = Prepare(model);
  ASSERT_TRUE(ready.ok()) << ready.status();
  EXPECT_LE(fetcher_.sent_bytes, content.size() + fetcher_.piece_bytes) << "it went on where it was";
}

}  // namespace
}  // namespace ballast::agent

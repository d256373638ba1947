#include <sys/mount.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/base/file.h"
#include "common/os/procfs.h"
#include "tests/fuzz/model_bytes.h"
#include "tests/unit/worker/model/load_fixture.h"
#include "worker/model/page_cache.h"
#include "worker/model/weight_pass.h"
#include "worker/model/weight_sum.h"

namespace ballast::model {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using Loader = v1::ModelLoad::Loader;

rlimit BothLimits(rlim_t bytes) {
  return {.rlim_cur = bytes, .rlim_max = bytes};
}

class BuiltinLoadTest : public LoadFixture {};

TEST_F(BuiltinLoadTest, TellsPhasesAndStagesInOrder) {
  const std::filesystem::path file = WriteModel();
  const v1::RunnerFinished finished = Execute(Task(file));
  EXPECT_EQ(finished.outcome(), v1::COMPLETED) << finished.message();
  EXPECT_THAT(observer_.PhaseKinds(), ElementsAre(v1::Phase::PREPARE, v1::Phase::LOAD, v1::Phase::INFER));
  for (const v1::Phase& phase : observer_.phases) EXPECT_EQ(phase.load_index(), 3U);
  EXPECT_THAT(observer_.StageKinds(),
              ElementsAre(v1::LoadStage::PARSE, v1::LoadStage::LOAD, v1::LoadStage::FIRST_PASS, v1::LoadStage::PASSES));
  const v1::ModelLoadResult& load = finished.load();
  EXPECT_EQ(load.index(), 3U);
  EXPECT_EQ(load.model_id(), "tiny");
  EXPECT_EQ(load.loader(), v1::ModelLoad::MMAP);
  EXPECT_EQ(load.file_bytes(), std::filesystem::file_size(file));
  EXPECT_GT(load.weight_bytes(), 0U);
  EXPECT_LT(load.weight_bytes(), load.file_bytes());
  EXPECT_NE(load.checksum(), 0U);
  EXPECT_GE(load.threads(), 1U);
  const v1::LoadStage& passes = observer_.Stage(v1::LoadStage::PASSES);
  EXPECT_EQ(passes.pass_count(), 2U);
  EXPECT_EQ(passes.weight_bytes(), 2 * load.weight_bytes());
  EXPECT_EQ(observer_.Stage(v1::LoadStage::FIRST_PASS).weight_bytes(), load.weight_bytes());
}

// The file's bytes are the same for every way to load them and every number of threads.
TEST_F(BuiltinLoadTest, TheChecksumIsThatOfTheFile) {
  const std::filesystem::path file = WriteModel();
  const std::uint64_t checksum = Execute(Task(file)).load().checksum();
  for (const Loader loader :
       {v1::ModelLoad::MMAP, v1::ModelLoad::MMAP_POPULATE, v1::ModelLoad::READ, v1::ModelLoad::DIRECT}) {
    for (const unsigned threads : {1U, 2U, 3U}) {
      v1::LoadTask task = Task(file, loader);
      task.mutable_load()->set_threads(threads);
      const v1::RunnerFinished finished = Execute(task);
      ASSERT_EQ(finished.outcome(), v1::COMPLETED) << finished.message();
      EXPECT_EQ(finished.load().checksum(), checksum) << v1::ModelLoad::Loader_Name(loader) << " " << threads;
      EXPECT_EQ(finished.load().threads(), threads);
    }
  }
  const gguf::ModelFile model = gguf::ReadModelFile(file).value();
  std::ifstream stream(file, std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(stream)), {});
  std::uint64_t expected = 0;
  std::uint64_t factor = 1;
  // tiny is written in the order of a pass, but for the output's tensors.
  for (const bool output : {false, true}) {
    for (const gguf::Tensor& tensor : model.tensors) {
      if (tensor.name.starts_with("output") != output) continue;
      const auto weights = std::as_bytes(std::span(bytes)).subspan(model.PositionOf(tensor), tensor.size_bytes);
      expected += factor * SumWeights(tensor.type, weights);
      factor += 2;
    }
  }
  EXPECT_EQ(checksum, expected);
}

TEST_F(BuiltinLoadTest, AnotherBitGivesAnotherChecksum) {
  const std::filesystem::path file = WriteModel("Q8_0");
  const std::uint64_t checksum = Execute(Task(file)).load().checksum();
  std::fstream stream(file, std::ios::binary | std::ios::in | std::ios::out);
  stream.seekp(-100, std::ios::end);
  const int byte = stream.peek();
  stream.put(static_cast<char>(byte ^ 1));
  stream.close();
  EXPECT_NE(Execute(Task(file)).load().checksum(), checksum);
}

TEST_F(BuiltinLoadTest, MappedWeightsAreFilePagesAndReadOnesAnonymous) {
  const std::filesystem::path file = WriteModel("F16");
  const std::uint64_t weights = Execute(Task(file, v1::ModelLoad::MMAP)).load().weight_bytes();
  EXPECT_GE(observer_.Stage(v1::LoadStage::FIRST_PASS).footprint().file_bytes(), weights);
  const std::uint64_t mapped_anon = observer_.Stage(v1::LoadStage::FIRST_PASS).footprint().anon_bytes();
  const std::uint64_t before = observer_.Stage(v1::LoadStage::LOAD).footprint().file_bytes();
  ASSERT_EQ(Execute(Task(file, v1::ModelLoad::MMAP_POPULATE)).outcome(), v1::COMPLETED);
  EXPECT_GE(observer_.Stage(v1::LoadStage::LOAD).footprint().file_bytes(), before + weights / 2);
  ASSERT_EQ(Execute(Task(file, v1::ModelLoad::READ)).outcome(), v1::COMPLETED);
  const v1::MemoryFootprint& read = observer_.Stage(v1::LoadStage::LOAD).footprint();
  EXPECT_GE(read.anon_bytes() + (1U << 20U), mapped_anon + weights);
  EXPECT_GT(read.pss_bytes(), weights);
}

TEST_F(BuiltinLoadTest, PastTheCacheNothingIsCached) {
  const std::filesystem::path file = WriteModel("F16");
  v1::LoadTask task = Task(file, v1::ModelLoad::DIRECT);
  task.mutable_load()->set_cache(v1::COLD);
  const v1::RunnerFinished finished = Execute(task);
  ASSERT_EQ(finished.outcome(), v1::COMPLETED) << finished.message();
  EXPECT_EQ(finished.load().found_cache(), v1::COLD) << finished.message();
  EXPECT_GE(observer_.Stage(v1::LoadStage::LOAD).disk_read_bytes(), finished.load().weight_bytes());
  // Parsing brings the header in, and what the kernel reads ahead of it.
  const auto pages = CountCachedPages(std::vector{file});
  ASSERT_TRUE(pages.ok());
  EXPECT_LT(pages->percent(), 50);
}

TEST_F(BuiltinLoadTest, AColdLoadReadsTheDiskAndAWarmOneDoesNot) {
  const std::filesystem::path file = WriteModel("F16");
  v1::LoadTask task = Task(file);
  task.mutable_load()->set_cache(v1::COLD);
  v1::RunnerFinished finished = Execute(task);
  EXPECT_EQ(finished.load().found_cache(), v1::COLD) << finished.message();
  EXPECT_LT(finished.load().cached_percent(), 1);
  std::uint64_t read = 0;
  for (const v1::LoadStage& stage : observer_.stages) {
    read += stage.disk_read_bytes();
  }
  EXPECT_GE(read, finished.load().weight_bytes());

  task.mutable_load()->set_cache(v1::WARM);
  finished = Execute(task);
  EXPECT_EQ(finished.load().found_cache(), v1::WARM) << finished.message();
  EXPECT_GT(finished.load().cached_percent(), 99);
  for (const v1::LoadStage& stage : observer_.stages) {
    EXPECT_EQ(stage.disk_read_bytes(), 0U) << v1::LoadStage::Kind_Name(stage.kind());
    EXPECT_EQ(stage.major_faults(), 0U) << v1::LoadStage::Kind_Name(stage.kind());
  }
}

// What brings the file into the page cache is counted by the kernel for the same process, and told apart.
TEST_F(BuiltinLoadTest, TellsWhatWasTakenBeforeTheLoadBegan) {
  const std::filesystem::path file = WriteModel("F16");
  const std::vector files = {file};
  ASSERT_EQ(PrepareCache(files, v1::COLD, stop_.get_token())->state, v1::COLD);
  v1::LoadTask task = Task(file);
  const auto read_so_far = [] {
    return os::ParseProcessIo(base::ReadFile("/proc/self/io").value_or("")).read_bytes.value_or(0);
  };
  const std::uint64_t before = read_so_far();
  task.mutable_load()->set_cache(v1::WARM);
  const v1::RunnerFinished finished = Execute(task);
  ASSERT_EQ(finished.load().found_cache(), v1::WARM) << finished.message();
  ASSERT_EQ(observer_.begins.size(), 1U);
  EXPECT_GE(observer_.begins[0].disk_read_bytes(), before + finished.load().file_bytes());
  EXPECT_GE(read_so_far(), observer_.begins[0].disk_read_bytes());
  EXPECT_GT(observer_.begins[0].minor_faults(), 0U);
  // What is there before, and the weights: that is what the load takes.
  const auto expected = static_cast<double>(observer_.begins[0].resident_bytes() + finished.load().weight_bytes());
  EXPECT_NEAR(static_cast<double>(observer_.Stage(v1::LoadStage::FIRST_PASS).footprint().resident_bytes()), expected,
              expected * 0.15);
}

TEST_F(BuiltinLoadTest, LockedWeightsAreLocked) {
  const std::filesystem::path file = WriteModel();
  for (const Loader loader : {v1::ModelLoad::MMAP, v1::ModelLoad::READ}) {
    v1::LoadTask task = Task(file, loader);
    task.mutable_load()->set_lock(true);
    const v1::RunnerFinished finished = Execute(task);
    if (finished.outcome() == v1::LOAD_FAILED && finished.message().find("RLIMIT_MEMLOCK") != std::string::npos) {
      GTEST_SKIP() << finished.message();
    }
    ASSERT_EQ(finished.outcome(), v1::COMPLETED) << finished.message();
    const v1::MemoryFootprint& footprint = observer_.Stage(v1::LoadStage::LOAD).footprint();
    EXPECT_GE(footprint.locked_bytes(), finished.load().weight_bytes());
    // Mapped and locked is brought in.
    EXPECT_GE(footprint.resident_bytes(), finished.load().weight_bytes());
  }
}

TEST_F(BuiltinLoadTest, ARefusedLockNamesTheLimitAndTheNextStep) {
  v1::LoadTask task = Task(WriteModel());
  task.mutable_load()->set_lock(true);
  EXPECT_EXIT(
      {
        const rlimit limit(BothLimits(64U << 10U));
        if (::setrlimit(RLIMIT_MEMLOCK, &limit) != 0) std::_Exit(1);
        // Root may lock what it wants.
        if (::geteuid() == 0) {
          std::filesystem::permissions(directory_.path(), std::filesystem::perms(0755));
          std::filesystem::permissions(task.paths(0), std::filesystem::perms(0644));
          if (::setgid(65534) != 0 || ::setuid(65534) != 0) std::_Exit(2);
        }
        const v1::RunnerFinished finished = Execute(task);
        if (finished.outcome() != v1::LOAD_FAILED) std::_Exit(3);
        if (finished.message().find("RLIMIT_MEMLOCK is 64 KiB") == std::string::npos) std::_Exit(4);
        if (observer_.events.back().kind() != v1::Event::ALLOCATION_REFUSED) std::_Exit(5);
        std::_Exit(0);
      },
      testing::ExitedWithCode(0), "");
}

TEST_F(BuiltinLoadTest, RefusedMemoryFailsTheLoad) {
  v1::LoadTask task = Task(WriteModel("F16"), v1::ModelLoad::READ);
  task.mutable_load()->set_threads(1);
  EXPECT_EXIT(
      {
        // Room for all but the weights, which are far more than that.
        std::size_t pages = 0;
        std::ifstream("/proc/self/statm") >> pages;
        const rlimit limit(BothLimits(pages * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE)) + (1U << 20U)));
        observer_.on_stage = [&limit](const v1::LoadStage&) { ::setrlimit(RLIMIT_AS, &limit); };
        const v1::RunnerFinished finished = Execute(task);
        std::cerr << finished.message();
        std::_Exit(
            finished.outcome() == v1::LOAD_FAILED && finished.message().find("ulimit -v") != std::string::npos ? 0 : 2);
      },
      testing::ExitedWithCode(0), "");
}

TEST_F(BuiltinLoadTest, WithoutPassesThereIsNoUse) {
  v1::LoadTask task = Task(WriteModel());
  task.mutable_load()->set_passes(0);
  EXPECT_EQ(Execute(task).outcome(), v1::COMPLETED);
  EXPECT_THAT(observer_.PhaseKinds(), ElementsAre(v1::Phase::PREPARE, v1::Phase::LOAD));
  EXPECT_THAT(observer_.StageKinds(),
              ElementsAre(v1::LoadStage::PARSE, v1::LoadStage::LOAD, v1::LoadStage::FIRST_PASS));
}

TEST_F(BuiltinLoadTest, IsUsedForAsLongAsAsked) {
  v1::LoadTask task = Task(WriteModel());
  task.mutable_load()->set_passes(1);
  constexpr std::chrono::milliseconds kUse(300);
  *task.mutable_load()->mutable_use_duration() = base::ToProto(kUse);
  TellUseSlowly(kUse);
  EXPECT_EQ(Execute(task).outcome(), v1::COMPLETED);
  const v1::LoadStage& passes = observer_.Stage(v1::LoadStage::PASSES);
  EXPECT_GE(base::FromProto(passes.duration()), kUse);
  EXPECT_GT(passes.pass_count(), 1U);
}

TEST_F(BuiltinLoadTest, AStopIsHeardInEveryStage) {
  const std::filesystem::path file = WriteModel();
  for (const v1::LoadStage::Kind after : {v1::LoadStage::PARSE, v1::LoadStage::LOAD, v1::LoadStage::FIRST_PASS}) {
    for (const Loader loader : {v1::ModelLoad::MMAP_POPULATE, v1::ModelLoad::READ}) {
      stop_ = std::stop_source();
      observer_.on_stage = [&](const v1::LoadStage& stage) {
        if (stage.kind() == after) stop_.request_stop();
      };
      v1::LoadTask task = Task(file, loader);
      task.mutable_load()->mutable_use_duration()->set_seconds(100);
      const v1::RunnerFinished finished = Execute(task);
      EXPECT_EQ(finished.outcome(), v1::CANCELLED) << finished.message();
      EXPECT_EQ(observer_.stages.back().kind(), after);
    }
  }
}

// A runner that died of SIGBUS would be told as crashed.
TEST_F(BuiltinLoadTest, AFileThatShrinksUnderAMappingFailsTheLoad) {
  const std::filesystem::path file = WriteModel("F16");
  observer_.on_stage = [&](const v1::LoadStage& stage) {
    if (stage.kind() == v1::LoadStage::LOAD) {
      std::filesystem::resize_file(file, std::filesystem::file_size(file) / 2);
    }
  };
  v1::LoadTask task = Task(file);
  task.mutable_load()->set_threads(2);
  const v1::RunnerFinished finished = Execute(task);
  EXPECT_EQ(finished.outcome(), v1::LOAD_FAILED);
  EXPECT_THAT(finished.message(), HasSubstr("model.gguf was cut short"));
  EXPECT_EQ(finished.load().checksum(), 0U);
}

TEST_F(BuiltinLoadTest, AFileThatShrinksBeforeItIsReadFailsTheLoad) {
  for (const Loader loader : {v1::ModelLoad::MMAP_POPULATE, v1::ModelLoad::READ, v1::ModelLoad::DIRECT}) {
    const std::filesystem::path file = WriteModel("F16");
    observer_.on_stage = [&](const v1::LoadStage& stage) {
      if (stage.kind() == v1::LoadStage::PARSE) {
        std::filesystem::resize_file(file, std::filesystem::file_size(file) / 2);
      }
    };
    const v1::RunnerFinished finished = Execute(Task(file, loader));
    EXPECT_EQ(finished.outcome(), v1::LOAD_FAILED) << v1::ModelLoad::Loader_Name(loader);
    EXPECT_THAT(finished.message(), HasSubstr("cut short"));
    std::filesystem::remove(file);
  }
}

TEST_F(BuiltinLoadTest, AFileSystemThatCannotReadPastTheCacheIsNamed) {
  const std::filesystem::path mount = directory_.path() / "ram";
  std::filesystem::create_directory(mount);
  if (::mount("none", mount.c_str(), "ramfs", 0, nullptr) != 0)
    GTEST_SKIP() << "needs the right to mount (run as root)";
  std::filesystem::copy(WriteModel(), mount / "model.gguf");
  const v1::RunnerFinished finished = Execute(Task(mount / "model.gguf", v1::ModelLoad::DIRECT));
  EXPECT_EQ(::umount(mount.c_str()), 0);
  EXPECT_EQ(finished.outcome(), v1::LOAD_FAILED);
  EXPECT_THAT(finished.message(), HasSubstr("does not read past the page cache (O_DIRECT); choose another loader"));
}

TEST_F(BuiltinLoadTest, WeightsThatChangeBetweenPassesAreFound) {
  const std::filesystem::path file = WriteModel("Q8_0");
  observer_.on_stage = [&](const v1::LoadStage& stage) {
    if (stage.kind() != v1::LoadStage::FIRST_PASS) return;
    std::fstream stream(file, std::ios::binary | std::ios::in | std::ios::out);
    stream.seekp(-100, std::ios::end);
    const int byte = stream.peek();
    stream.put(static_cast<char>(byte ^ 1));
  };
  const v1::RunnerFinished finished = Execute(Task(file));
  EXPECT_EQ(finished.outcome(), v1::LOAD_FAILED);
  EXPECT_THAT(finished.message(), HasSubstr("checksum"));
}

TEST_F(BuiltinLoadTest, WhatIsNoModelFailsWithItsName) {
  const v1::RunnerFinished finished =
      Execute(Task(directory_.Write("model.gguf", "not a model at all, but some text")));
  EXPECT_EQ(finished.outcome(), v1::LOAD_FAILED);
  EXPECT_THAT(finished.message(), HasSubstr("model.gguf"));
  EXPECT_TRUE(observer_.stages.empty());
}

TEST_F(BuiltinLoadTest, AMissingFileFailsWithItsName) {
  const v1::RunnerFinished finished = Execute(Task(directory_.path() / "absent.gguf"));
  EXPECT_EQ(finished.outcome(), v1::LOAD_FAILED);
  EXPECT_THAT(finished.message(), HasSubstr("absent.gguf"));
  EXPECT_FALSE(finished.load().has_start_offset());
}

TEST_F(BuiltinLoadTest, ATaskWithoutAFileIsInvalid) {
  EXPECT_EQ(Execute(v1::LoadTask()).outcome(), v1::INVALID);
}

TEST_F(BuiltinLoadTest, TypesThatAreNotDequantisedAreSaid) {
  gguf::ModelBytes bytes;
  bytes.Text("general.architecture", "qwen2");
  bytes.RawTensor("token_embd.weight", {256}, static_cast<std::uint32_t>(gguf::TensorType::kIQ4_XS), 0, 136);
  const v1::RunnerFinished finished = Execute(Task(directory_.Write("model.gguf", bytes.Bytes())));
  EXPECT_EQ(finished.outcome(), v1::COMPLETED) << finished.message();
  EXPECT_THAT(finished.message(), HasSubstr("IQ4_XS were summed as they lie"));
}

TEST(LayerOrderTest, IsThatOfAForwardPass) {
  EXPECT_LT(LayerOrder("token_embd.weight"), LayerOrder("blk.0.attn_q.weight"));
  EXPECT_LT(LayerOrder("blk.9.ffn_down.weight"), LayerOrder("blk.10.attn_norm.weight"));
  EXPECT_LT(LayerOrder("blk.99.ffn_down.weight"), LayerOrder("output_norm.weight"));
  EXPECT_EQ(LayerOrder("output_norm.weight"), LayerOrder("output.weight"));
  EXPECT_EQ(LayerOrder("blk.x"), LayerOrder("rope_freqs.weight"));
}

}  // namespace
}  // namespace ballast::model

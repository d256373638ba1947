#include "common/gguf/synthetic_model.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <sys/mount.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <set>

#include "common/base/file.h"
#include "common/gguf/model_description.h"
#include "common/gguf/synthetic_blocks.h"
#include "common/gguf/synthetic_header.h"
#include "tests/unit/common/gguf/temporary_directory.h"

namespace ballast::gguf {
namespace {

using testing::HasSubstr;

double HalfToDouble(std::uint16_t bits) {
  const int exponent = (bits >> 10U) & 31;
  const int mantissa = bits & 1023;
  const double magnitude = exponent == 0 ? std::ldexp(mantissa, -24)
                                         : (exponent == 31 ? HUGE_VAL : std::ldexp(1024 + mantissa, exponent - 25));
  return (bits & 0x8000U) != 0 ? -magnitude : magnitude;
}

double HalfAt(const std::vector<char>& bytes, std::size_t at) {
  std::uint16_t bits = 0;
  std::memcpy(&bits, bytes.data() + at, sizeof bits);
  return HalfToDouble(bits);
}

std::uint64_t TensorBytesOf(TensorType type, std::uint64_t blocks) {
  return blocks * InfoOf(type).block_bytes;
}

Tensor NamedTensor(std::string name, TensorType type) {
  Tensor tensor;
  tensor.name = std::move(name);
  tensor.type = type;
  return tensor;
}

std::set<TensorType> TypesOfAllMixes() {
  std::set<TensorType> types;
  for (const QuantLevel level : LevelsByQuality()) {
    for (const ModelShape& shape : KnownShapes()) {
      for (const Tensor& tensor : PlanModel(shape, level).tensors) types.insert(tensor.type);
    }
  }
  return types;
}

TEST(SyntheticDescriptionTest, IsDescribedWithoutItsHeaderAsItsFileIs) {
  for (const ModelShape& shape : KnownShapes()) {
    for (const QuantLevel level : LevelsByQuality()) {
      const v1::ModelDescription planned = DescribeSyntheticModel(shape, level);
      const v1::ModelDescription made = DescribeModel(SyntheticModel(shape, level, 7).AsFile());
      EXPECT_EQ(planned.ShortDebugString(), made.ShortDebugString()) << shape.name << " " << NameOf(level);
    }
  }
}

TEST(SyntheticBlocksTest, ATensorIsTheSameHoweverItIsDivided) {
  for (const TensorType type : TypesOfAllMixes()) {
    const Tensor tensor = NamedTensor("blk.0.attn_q.weight", type);
    std::vector<char> whole(TensorBytesOf(type, 43));
    FillTensor(tensor, 7, 0, whole);
    std::vector<char> parts(whole.size());
    const std::uint64_t cut = TensorBytesOf(type, 3 * kBlocksInStep);
    FillTensor(tensor, 7, cut, std::span(parts).subspan(cut));
    FillTensor(tensor, 7, 0, std::span(parts).first(cut));
    EXPECT_EQ(parts, whole) << InfoOf(type).name;
    std::vector<char> other(whole.size());
    FillTensor(tensor, 8, 0, other);
    EXPECT_NE(other, whole) << InfoOf(type).name;
    FillTensor(NamedTensor("blk.1.attn_q.weight", type), 7, 0, other);
    EXPECT_NE(other, whole) << InfoOf(type).name;
  }
}

// The weights of Q4_K, worked out as every runtime does.
TEST(SyntheticBlocksTest, WeightsLieAroundZeroAsTrainedOnesDo) {
  std::vector<char> bytes(TensorBytesOf(TensorType::kQ4_K, 512));
  FillTensor(NamedTensor("w", TensorType::kQ4_K), 1, 0, bytes);
  double sum = 0;
  double squares = 0;
  std::size_t count = 0;
  for (std::size_t at = 0; at < bytes.size(); at += 144) {
    const double d = HalfAt(bytes, at);
    const double dmin = HalfAt(bytes, at + 2);
    const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(bytes[at + 4 + i]); };
    for (std::size_t group = 0; group < 8; ++group) {
      const unsigned scale = group < 4 ? byte(group) & 63U : (byte(group + 4) & 15U) | ((byte(group - 4) >> 6U) << 4U);
      const unsigned minimum =
          group < 4 ? byte(group + 4) & 63U : (byte(group + 4) >> 4U) | ((byte(group) >> 6U) << 4U);
      for (std::size_t i = 0; i < 32; ++i) {
        const unsigned quants = byte(12 + group / 2 * 32 + i);
        const double weight = d * scale * (group % 2 == 0 ? quants & 15U : quants >> 4U) - dmin * minimum;
        sum += weight;
        squares += weight * weight;
        ++count;
      }
    }
  }
  const double mean = sum / static_cast<double>(count);
  EXPECT_NEAR(mean, 0, 0.001);
  EXPECT_NEAR(std::sqrt(squares / static_cast<double>(count)), 0.02, 0.002);
}

TEST(SyntheticBlocksTest, EveryScaleIsFiniteAndSane) {
  struct Field {
    TensorType type;
    std::vector<std::size_t> offsets;
  };
  const std::vector<Field> fields = {{TensorType::kQ4_0, {0}},      {TensorType::kQ5_0, {0}},
                                     {TensorType::kQ5_1, {0, 2}},   {TensorType::kQ8_0, {0}},
                                     {TensorType::kQ2_K, {80, 82}}, {TensorType::kQ3_K, {108}},
                                     {TensorType::kQ4_K, {0, 2}},   {TensorType::kQ5_K, {0, 2}},
                                     {TensorType::kQ6_K, {208}},    {TensorType::kF16, {0}}};
  std::set<TensorType> covered = {TensorType::kF32};
  for (const Field& field : fields) {
    covered.insert(field.type);
    std::vector<char> bytes(TensorBytesOf(field.type, 4096));
    FillTensor(NamedTensor("w", field.type), 3, 0, bytes);
    for (std::size_t at = 0; at < bytes.size(); at += InfoOf(field.type).block_bytes) {
      for (const std::size_t offset : field.offsets) {
        const double value = std::abs(HalfAt(bytes, at + offset));
        ASSERT_GT(value, 1e-7) << InfoOf(field.type).name;
        ASSERT_LT(value, 0.2) << InfoOf(field.type).name;
      }
    }
  }
  EXPECT_EQ(covered, TypesOfAllMixes());
}

TEST(SyntheticBlocksTest, NormsLieAroundOneAndBiasesAroundZero) {
  std::array<float, 256> values{};
  const auto fill = [&](const std::string& name) {
    FillTensor(NamedTensor(name, TensorType::kF32), 3, 0, {reinterpret_cast<char*>(values.data()), sizeof values});
  };
  fill("blk.0.attn_norm.weight");
  for (const float value : values) EXPECT_NEAR(value, 1, 0.11);
  fill("blk.0.attn_q.bias");
  for (const float value : values) EXPECT_NEAR(value, 0, 0.11);
}

class SyntheticModelTest : public testing::Test {
 protected:
  // Small, and with an embedding that is written in several pieces.
  static SyntheticModel Tiny(QuantLevel level = QuantLevel::kF16, std::uint64_t seed = 1) {
    ModelShape shape = *FindShape("tiny");
    shape.vocabulary_size = 20000;
    return {shape, level, seed};
  }
  std::string Content(const std::filesystem::path& path) { return *base::ReadFile(path); }
  std::vector<std::string> Files() {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(directory_.path())) {
      names.push_back(entry.path().filename());
    }
    return names;
  }

  TemporaryDirectory directory_;
  const std::filesystem::path path_ = directory_.path() / "tiny.gguf";
  const std::filesystem::path partial_ = directory_.path() / "tiny.gguf.partial";
};

TEST_F(SyntheticModelTest, EachLevelIsWrittenAndReadBack) {
  for (const QuantLevel level : LevelsByQuality()) {
    const SyntheticModel model = Tiny(level);
    const auto written = WriteSyntheticModel(model, path_, {});
    ASSERT_TRUE(written.ok()) << written.status();
    EXPECT_EQ(written->written_bytes, model.file_size_bytes());
    const auto file = ReadModelFile(path_);
    ASSERT_TRUE(file.ok()) << file.status();
    EXPECT_EQ(file->file_size_bytes, model.file_size_bytes());
    EXPECT_EQ(file->tensor_bytes, model.plan().tensor_bytes);
    ASSERT_EQ(file->tensors.size(), model.plan().tensors.size());
    for (std::size_t i = 0; i < file->tensors.size(); ++i) {
      EXPECT_EQ(file->tensors[i].name, model.plan().tensors[i].name);
      EXPECT_EQ(file->tensors[i].type, model.plan().tensors[i].type);
      EXPECT_EQ(file->tensors[i].offset_bytes, model.plan().tensors[i].offset_bytes);
    }
    EXPECT_EQ(LevelOf(*file), level);
    EXPECT_EQ(file->Unsigned(kSyntheticSeedKey), 1U);
    EXPECT_EQ(model.AsFile().tensors.size(), file->tensors.size());
    std::filesystem::remove(path_);
  }
}

TEST_F(SyntheticModelTest, TheShapeOfTheFileIsTheOneItWasMadeFrom) {
  for (const ModelShape& shape : KnownShapes()) {
    const auto read = ShapeOf(SyntheticModel(shape, QuantLevel::kQ4_K_M, 1).AsFile());
    ASSERT_TRUE(read.ok()) << read.status();
    EXPECT_EQ(read->layer_count, shape.layer_count);
    EXPECT_EQ(read->embedding_length, shape.embedding_length);
    EXPECT_EQ(read->feed_forward_length, shape.feed_forward_length);
    EXPECT_EQ(read->head_count, shape.head_count);
    EXPECT_EQ(read->kv_head_count, shape.kv_head_count);
    EXPECT_EQ(read->head_dimension, shape.head_dimension);
    EXPECT_EQ(read->vocabulary_size, shape.vocabulary_size);
    EXPECT_EQ(read->context_length, shape.context_length);
    EXPECT_EQ(read->tied_output, shape.tied_output);
  }
}

TEST_F(SyntheticModelTest, TheHeaderHasTheKeysThatARuntimeAsksFor) {
  const ModelFile file = Tiny(QuantLevel::kQ4_0, 42).AsFile();
  EXPECT_EQ(file.Text("general.architecture"), "qwen2");
  EXPECT_EQ(file.Text("general.type"), "model");
  EXPECT_EQ(file.Text("general.name"), "tiny (synthetic)");
  EXPECT_EQ(file.Unsigned("general.quantization_version"), 2U);
  EXPECT_EQ(file.Unsigned(kSyntheticSeedKey), 42U);
  EXPECT_EQ(file.Text("tokenizer.ggml.model"), "gpt2");
  EXPECT_EQ(file.Text("tokenizer.ggml.pre"), "qwen2");
  EXPECT_EQ(file.Bool("tokenizer.ggml.add_bos_token"), false);
  EXPECT_NEAR(file.Number("qwen2.attention.layer_norm_rms_epsilon").value_or(0), 1e-6, 1e-12);
  EXPECT_EQ(file.Number("qwen2.rope.freq_base"), 1e6);
}

TEST_F(SyntheticModelTest, TheTokenizerHasATokenForEachRowAndAMergeForEachWord) {
  const SyntheticModel model = Tiny();
  const ModelFile file = model.AsFile();
  const auto texts = [&](std::string_view key) {
    std::vector<std::string> found;
    const ValueExtent* const extent = file.Extent(key);
    std::uint64_t at = extent->position_bytes;
    for (std::uint64_t i = 0; i < extent->count; ++i) {
      std::uint64_t length = 0;
      std::memcpy(&length, model.header().data() + at, sizeof length);
      found.push_back(model.header().substr(at + sizeof length, length));
      at += sizeof length + length;
    }
    return found;
  };
  const std::vector<std::string> tokens = texts("tokenizer.ggml.tokens");
  const std::set<std::string> known(tokens.begin(), tokens.end());
  ASSERT_EQ(tokens.size(), model.plan().shape.vocabulary_size);
  EXPECT_EQ(known.size(), tokens.size());
  EXPECT_EQ(tokens['a'], "a");
  EXPECT_EQ(tokens[' '], "Ġ");
  EXPECT_EQ(tokens.back(), "<|im_end|>");
  EXPECT_EQ(file.Unsigned("tokenizer.ggml.eos_token_id"), tokens.size() - 1);
  const std::vector<std::string> merges = texts("tokenizer.ggml.merges");
  ASSERT_EQ(merges.size(), tokens.size() - 256 - 3);
  for (const std::string& merge : merges) {
    const std::size_t space = merge.find(' ');
    const std::string left = merge.substr(0, space);
    const std::string right = merge.substr(space + 1);
    EXPECT_TRUE(known.contains(left) && known.contains(right) && known.contains(left + right)) << merge;
  }
}

TEST_F(SyntheticModelTest, TheFileDependsOnTheSeedAndNotOnTheThreads) {
  ASSERT_TRUE(WriteSyntheticModel(Tiny(), path_, {.threads = 1}).ok());
  const std::string one = Content(path_);
  ASSERT_TRUE(WriteSyntheticModel(Tiny(), directory_.path() / "b", {.threads = 5}).ok());
  EXPECT_TRUE(Content(directory_.path() / "b") == one);
  ASSERT_TRUE(WriteSyntheticModel(Tiny(QuantLevel::kF16, 2), directory_.path() / "c", {}).ok());
  EXPECT_FALSE(Content(directory_.path() / "c") == one);
}

TEST_F(SyntheticModelTest, ProgressRisesToTheSizeOfTheFile) {
  std::uint64_t last = 0;
  const SyntheticModel model = Tiny();
  const auto progress = [&](std::uint64_t done, std::uint64_t total) {
    EXPECT_GT(done, last);
    EXPECT_EQ(total, model.file_size_bytes());
    last = done;
  };
  ASSERT_TRUE(WriteSyntheticModel(model, path_, {.progress = progress}).ok());
  EXPECT_EQ(last, model.file_size_bytes());
}

// Whatever an interrupted call left, the file that results is the same.
TEST_F(SyntheticModelTest, AnInterruptedFileIsCarriedOn) {
  const SyntheticModel model = Tiny();
  ASSERT_TRUE(WriteSyntheticModel(model, path_, {}).ok());
  const std::string whole = Content(path_);
  for (const double share : {0.0, 0.001, 0.3, 0.7, 0.999, 1.0}) {
    std::filesystem::remove(path_);
    const auto size = static_cast<std::size_t>(share * static_cast<double>(whole.size()));
    std::ofstream(partial_, std::ios::binary) << whole.substr(0, size);
    const auto result = WriteSyntheticModel(model, path_, {});
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_LE(result->resumed_bytes, size);
    EXPECT_EQ(result->resumed_bytes > model.header().size(), share > 0.1);
    EXPECT_EQ(result->resumed_bytes + result->written_bytes, whole.size());
    EXPECT_TRUE(Content(path_) == whole) << share;
    EXPECT_FALSE(std::filesystem::exists(partial_));
  }
}

TEST_F(SyntheticModelTest, APartialFileOfAnotherModelOrADamagedOneIsBegunAnew) {
  const SyntheticModel model = Tiny();
  ASSERT_TRUE(WriteSyntheticModel(Tiny(QuantLevel::kF16, 2), partial_, {}).ok());
  EXPECT_EQ(WriteSyntheticModel(model, path_, {})->resumed_bytes, 0U);
  const std::string whole = Content(path_);
  std::filesystem::remove(path_);
  std::string damaged = whole.substr(0, whole.size() / 2);
  // The end of what a machine wrote before it crashed.
  damaged.replace(damaged.size() - 5'000'000, 5'000'000, 5'000'000, '\0');
  std::ofstream(partial_, std::ios::binary) << damaged;
  EXPECT_EQ(WriteSyntheticModel(model, path_, {})->resumed_bytes, 0U);
  EXPECT_TRUE(Content(path_) == whole);
}

TEST_F(SyntheticModelTest, ACancelledWriteLeavesNothingUnlessAsked) {
  const SyntheticModel model = Tiny();
  std::stop_source source;
  const auto stop_at_half = [&](std::uint64_t done, std::uint64_t total) {
    if (done > total / 2) source.request_stop();
  };
  WriteOptions options{.stop = source.get_token(), .progress = stop_at_half};
  EXPECT_TRUE(absl::IsCancelled(WriteSyntheticModel(model, path_, options).status()));
  EXPECT_THAT(Files(), testing::IsEmpty());
  source = std::stop_source();
  options.stop = source.get_token();
  options.keep_partial = true;
  EXPECT_TRUE(absl::IsCancelled(WriteSyntheticModel(model, path_, options).status()));
  EXPECT_THAT(Files(), testing::ElementsAre("tiny.gguf.partial"));
  const auto resumed = WriteSyntheticModel(model, path_, {});
  ASSERT_TRUE(resumed.ok()) << resumed.status();
  EXPECT_GT(resumed->resumed_bytes, model.file_size_bytes() / 2);
  EXPECT_THAT(Files(), testing::ElementsAre("tiny.gguf"));
}

TEST_F(SyntheticModelTest, WhatIsThereIsNotOverwritten) {
  const SyntheticModel model = Tiny();
  ASSERT_TRUE(WriteSyntheticModel(model, path_, {}).ok());
  const auto again = WriteSyntheticModel(model, path_, {});
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->written_bytes, 0U);
  EXPECT_EQ(again->resumed_bytes, model.file_size_bytes());
  const auto other = WriteSyntheticModel(Tiny(QuantLevel::kF16, 2), path_, {});
  EXPECT_TRUE(absl::IsAlreadyExists(other.status())) << other.status();
  EXPECT_THAT(Files(), testing::ElementsAre("tiny.gguf"));
}

TEST_F(SyntheticModelTest, TwoWritersOfOneFileAreKeptApart) {
  const base::Fd other = *base::OpenFile(partial_, O_RDWR | O_CREAT);
  ASSERT_EQ(::flock(other.get(), LOCK_EX), 0);
  const auto result = WriteSyntheticModel(Tiny(), path_, {});
  EXPECT_TRUE(absl::IsUnavailable(result.status())) << result.status();
  EXPECT_TRUE(std::filesystem::exists(partial_));
}

TEST_F(SyntheticModelTest, AMissingDirectoryIsNamed) {
  const auto result = WriteSyntheticModel(Tiny(), directory_.path() / "none" / "m.gguf", {});
  EXPECT_TRUE(absl::IsNotFound(result.status()));
  EXPECT_THAT(std::string(result.status().message()), HasSubstr("none/m.gguf"));
}

// A file system of its own, too small for the model.
TEST_F(SyntheticModelTest, ADiskWithTooLittleRoomIsRefusedBeforeAnythingIsWritten) {
  if (::mount("none", directory_.path().c_str(), "tmpfs", 0, "size=1m") != 0) {
    GTEST_SKIP() << "no small file system to be had: mounting needs root";
  }
  bool begun = false;
  const auto result =
      WriteSyntheticModel(Tiny(), path_, {.progress = [&](std::uint64_t, std::uint64_t) { begun = true; }});
  const std::vector<std::string> left = Files();
  ASSERT_EQ(::umount(directory_.path().c_str()), 0);
  EXPECT_TRUE(absl::IsResourceExhausted(result.status())) << result.status();
  EXPECT_THAT(std::string(result.status().message()), HasSubstr("the disk has 1 MiB free"));
  EXPECT_FALSE(begun);
  EXPECT_THAT(left, testing::IsEmpty());
}

}  // namespace
}  // namespace ballast::gguf

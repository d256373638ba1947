#include "common/gguf/model_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>

#include "tests/fuzz/model_bytes.h"
#include "tests/unit/common/gguf/temporary_directory.h"

namespace ballast::gguf {
namespace {

using testing::HasSubstr;

absl::StatusOr<ModelFile> Parse(const std::string& bytes) {
  MemoryByteSource source(bytes);
  return ParseModelFile(source);
}

TEST(ModelFileTest, EveryKindOfValueAndEveryTensorIsRead) {
  const std::string bytes = SmallModel().Bytes();
  const auto model = Parse(bytes);
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(model->version, 3U);
  EXPECT_EQ(model->file_size_bytes, bytes.size());
  EXPECT_EQ(model->Text("general.name"), "小模型");
  EXPECT_EQ(model->Unsigned("a.u8"), 200U);
  EXPECT_EQ(model->Number("a.i8"), -2);
  EXPECT_EQ(model->Unsigned("a.i8"), std::nullopt);
  EXPECT_EQ(model->Unsigned("a.u16"), 60000U);
  EXPECT_EQ(model->Number("a.i16"), -3);
  EXPECT_EQ(model->Number("a.i32"), -4);
  EXPECT_EQ(model->Unsigned("a.u64"), std::uint64_t{1} << 63U);
  EXPECT_EQ(model->Number("a.i64"), -5);
  EXPECT_EQ(model->Number("a.f32"), 0.5);
  EXPECT_EQ(model->Number("a.f64"), 0.25);
  EXPECT_EQ(model->Bool("a.bool"), true);
  EXPECT_EQ(model->Find("a.bool")->type, ValueType::kBool);
  const ValueExtent* const tokens = model->Extent("tokenizer.ggml.tokens");
  ASSERT_NE(tokens, nullptr);
  EXPECT_EQ(tokens->count, 3U);
  EXPECT_EQ(tokens->size_bytes, 3U * 8 + 3);
  EXPECT_EQ(bytes.substr(tokens->position_bytes + 8, 1), "a");
  EXPECT_EQ(model->Extent("tokenizer.ggml.token_type")->size_bytes, 12U);

  ASSERT_EQ(model->tensors.size(), 4U);
  EXPECT_EQ(model->tensors[0].size_bytes, 630U);
  EXPECT_EQ(model->tensors[1].offset_bytes, 640U);
  EXPECT_EQ(model->tensors[1].size_bytes, 20U);
  EXPECT_EQ(model->tensors[2].offset_bytes, 672U);
  EXPECT_EQ(model->tensor_bytes, 630U + 20 + 288 + 12);
  EXPECT_EQ(model->parts[0].data_offset_bytes % 32, 0U);
  EXPECT_EQ(model->PositionOf(model->tensors[3]) + 12, bytes.size());
  EXPECT_EQ(model->FindTensor("output_norm.weight"), &model->tensors[3]);
  EXPECT_EQ(model->FindTensor("output.weight"), nullptr);
}

TEST(ModelFileTest, Version2IsRead) {
  ModelBytes bytes = SmallModel();
  bytes.version = 2;
  const auto model = Parse(bytes.Bytes());
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(model->version, 2U);
}

TEST(ModelFileTest, AnotherAlignmentCounts) {
  ModelBytes bytes;
  bytes.alignment = 4096;
  bytes.U32("general.alignment", 4096);
  bytes.Tensor("a", TensorType::kF32, {3}).Tensor("b", TensorType::kF32, {3});
  const auto model = Parse(bytes.Bytes());
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(model->parts[0].data_offset_bytes, 4096U);
  EXPECT_EQ(model->tensors[1].offset_bytes, 4096U);
}

TEST(ModelFileTest, ALongTextStaysInTheFile) {
  const std::string text(kMaxKeptTextBytes + 1, 'x');
  const auto model = Parse(ModelBytes().Text("tokenizer.chat_template", text).U32("after", 7).Bytes());
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(model->Extent("tokenizer.chat_template")->count, text.size());
  EXPECT_EQ(model->Unsigned("after"), 7U);
}

TEST(ModelFileTest, AFileWithoutTensorsIsRead) {
  EXPECT_TRUE(Parse(ModelBytes().U32("a", 1).Bytes()).ok());
}

// At whatever byte a file was cut, the reader says so, and neither crashes nor takes it for whole.
TEST(ModelFileTest, ATruncationAtAnyByteIsAnError) {
  const std::string bytes = SmallModel().Bytes();
  ASSERT_TRUE(Parse(bytes).ok());
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    const auto model = Parse(bytes.substr(0, size));
    ASSERT_TRUE(absl::IsDataLoss(model.status())) << "cut at byte " << size << ": " << model.status();
  }
}

// Any byte may be anything: never a crash, and what is accepted lies inside the file.
TEST(ModelFileTest, AnyByteMayBeWrong) {
  const std::string bytes = SmallModel().Bytes();
  const std::size_t header = Parse(bytes)->parts[0].header_size_bytes;
  for (std::size_t i = 0; i < header; ++i) {
    for (const char value : {'\0', '\x01', '\x7f', '\x80', '\xff'}) {
      std::string damaged = bytes;
      damaged[i] = value;
      const auto model = Parse(damaged);
      if (!model.ok()) continue;
      for (const Tensor& tensor : model->tensors) {
        ASSERT_LE(model->PositionOf(tensor) + tensor.size_bytes, damaged.size()) << "byte " << i;
      }
    }
  }
}

struct BadModel {
  std::string name;
  std::string bytes;
  absl::StatusCode code;
  std::vector<std::string> said;
};

class BadModelTest : public testing::TestWithParam<BadModel> {};

TEST_P(BadModelTest, IsRefusedWithTheCauseAndThePlace) {
  const auto model = Parse(GetParam().bytes);
  EXPECT_EQ(model.status().code(), GetParam().code) << model.status();
  for (const std::string& text : GetParam().said) EXPECT_THAT(std::string(model.status().message()), HasSubstr(text));
}

constexpr std::uint64_t kHuge = std::uint64_t{1} << 63U;

std::vector<BadModel> BadModels() {
  constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
  constexpr auto kLost = absl::StatusCode::kDataLoss;
  std::vector<BadModel> bad;
  const auto add = [&](std::string name, std::string bytes, absl::StatusCode code, std::vector<std::string> said) {
    bad.push_back({std::move(name), std::move(bytes), code, std::move(said)});
  };
  const auto with = [](auto change) {
    ModelBytes bytes;
    change(bytes);
    return bytes.Bytes();
  };

  add("Empty", "", kLost, {"the file is empty"});
  add("WrongMagic", with([](ModelBytes& b) { b.magic = "GGUE"; }), kInvalid, {"not a GGUF file", "'GGUE'"});
  add("BigEndianMagic", with([](ModelBytes& b) { b.magic = "FUGG"; }), kInvalid, {"big-endian"});
  add("BigEndian", with([](ModelBytes& b) { b.version = 0x03000000; }), kInvalid, {"big-endian"});
  add("OldFormat", "tjgg\1\0\0\0", kInvalid, {"GGJT", "older than GGUF"});
  add("LfsPointer", "version https://git-lfs.github.com/spec/v1\noid sha256:12\n", kInvalid, {"Git LFS pointer"});
  add("WebPage", "<!DOCTYPE html><html>", kInvalid, {"a web page"});
  add("Version0", with([](ModelBytes& b) { b.version = 0; }), kInvalid, {"GGUF version 0"});
  add("Version1", with([](ModelBytes& b) { b.version = 1; }), kInvalid, {"GGUF version 1", "newer llama.cpp"});
  add("Version4", with([](ModelBytes& b) { b.version = 4; }), kInvalid, {"GGUF version 4; versions 2 and 3"});
  add("HugeTensorCount", with([](ModelBytes& b) { b.extra_tensors = kHuge; }), kInvalid,
      {"9223372036854775808 tensors", "at most"});
  add("HugeKeyCount", with([](ModelBytes& b) { b.extra_keys = kHuge; }), kInvalid, {"9223372036854775808 keys"});
  add("MoreKeysThanThere", with([](ModelBytes& b) { b.U32("a", 1).extra_keys = 5; }), kInvalid,
      {"key 2: its name is empty"});
  add("MoreTensorsThanThere", with([](ModelBytes& b) { b.Tensor("a", TensorType::kF32, {1}).extra_tensors = 5; }),
      kInvalid, {"tensor 2"});

  add("EmptyKey", with([](ModelBytes& b) { b.U32("", 1); }), kInvalid, {"key 1: its name is empty"});
  add("LongKey", with([](ModelBytes& b) { b.U32(std::string(kMaxKeyBytes + 1, 'k'), 1); }), kInvalid,
      {"key 1: its name has 65536 bytes"});
  add("KeyIsNoText", with([](ModelBytes& b) { b.U32("a\xff", 1); }), kInvalid, {"key 1 'a\\xff'", "UTF-8"});
  add("DuplicateKey", with([](ModelBytes& b) { b.U32("a", 1).U32("b", 1).U32("a", 2); }), kInvalid,
      {"key 3 'a': stands twice"});
  add("UnknownValueType", with([](ModelBytes& b) { b.RawKey("a", 13, ""); }), kInvalid, {"key 1 'a'", "13"});
  add("NeitherTrueNorFalse", with([](ModelBytes& b) { b.Key("a", ValueType::kBool, std::uint8_t{2}); }), kInvalid,
      {"key 1 'a'", "neither true"});
  add("HugeText", with([](ModelBytes& b) { b.RawKey("a", 8, LittleEndian(kHuge)); }), kInvalid,
      {"key 1 'a'", "9223372036854775808 bytes"});
  add("TextBeyondTheEnd", with([](ModelBytes& b) { b.RawKey("a", 8, LittleEndian(std::uint64_t{1000})); }), kLost,
      {"truncated in key 1 'a': the text needs 1000 bytes"});
  add("HugeArray", with([](ModelBytes& b) { b.Array("a", ValueType::kUint64, kHuge, ""); }), kInvalid,
      {"key 1 'a'", "elements"});
  add("HugeArrayOfTexts", with([](ModelBytes& b) { b.Array("a", ValueType::kString, kHuge, ""); }), kInvalid,
      {"key 1 'a'", "texts"});
  add("ArrayBeyondTheEnd", with([](ModelBytes& b) { b.Array("a", ValueType::kUint64, 1000, ""); }), kLost,
      {"truncated in key 1 'a': the array needs 8000 bytes"});
  add("TextInArrayBeyondTheEnd",
      with([](ModelBytes& b) { b.Array("a", ValueType::kString, 1, LittleEndian(std::uint64_t{99})); }), kLost,
      {"truncated in key 1 'a': a text in the array needs 99 bytes"});
  add("ArrayOfArrays", with([](ModelBytes& b) { b.Array("a", ValueType::kArray, 1, ""); }), kInvalid,
      {"key 1 'a'", "array of arrays"});
  add("AlignmentOfAnotherType",
      with([](ModelBytes& b) { b.Key("general.alignment", ValueType::kUint64, std::uint64_t{32}); }), kInvalid,
      {"key 1 'general.alignment'", "u64"});
  for (const std::uint32_t alignment : {0U, 33U}) {
    add("Alignment" + std::to_string(alignment), with([&](ModelBytes& b) { b.U32("general.alignment", alignment); }),
        kInvalid, {"power of two", std::to_string(alignment)});
  }

  add("EmptyTensorName", with([](ModelBytes& b) { b.Tensor("", TensorType::kF32, {1}); }), kInvalid,
      {"tensor 1: its name is empty"});
  add("LongTensorName", with([](ModelBytes& b) { b.Tensor(std::string(64, 't'), TensorType::kF32, {1}); }), kInvalid,
      {"tensor 1: its name has 64 bytes; at most 63"});
  add("DuplicateTensor",
      with([](ModelBytes& b) { b.Tensor("a", TensorType::kF32, {1}).Tensor("a", TensorType::kF32, {1}); }), kInvalid,
      {"tensor 2 'a': stands twice"});
  add("FiveDimensions", with([](ModelBytes& b) {
        b.Tensor("a", TensorType::kF32, {1, 1, 1, 1, 1});
      }),
      kInvalid, {"tensor 1 'a': it has 5 dimensions"});
  add("NoElements", with([](ModelBytes& b) {
        b.Tensor("a", TensorType::kF32, {4, 0});
      }),
      kInvalid, {"tensor 1 'a': dimension 2 is 0"});
  add("HugeDimension", with([](ModelBytes& b) { b.RawTensor("a", {kHuge}, 0, 0, 0); }), kInvalid,
      {"tensor 1 'a': dimension 1 is 9223372036854775808"});
  add("HugeProduct", with([](ModelBytes& b) {
        b.RawTensor("a", {kHuge / 2, 4}, 0, 0, 0);
      }),
      kInvalid, {"tensor 1 'a': the product of its dimensions"});
  add("HugeSize", with([](ModelBytes& b) { b.RawTensor("a", {kHuge / 2}, 0, 0, 0); }), kInvalid,
      {"tensor 1 'a'", "more than 2^63 - 1 bytes"});
  add("HugeSum", with([](ModelBytes& b) {
        b.RawTensor("a", {kHuge / 2}, 24, 0, 0).RawTensor("b", {kHuge / 2}, 24, kHuge / 2, 0);
      }),
      kInvalid, {"tensor 2 'b'", "add up to more"});
  add("BrokenBlock", with([](ModelBytes& b) { b.RawTensor("a", {255}, 12, 0, 144); }), kInvalid,
      {"tensor 1 'a'", "255", "Q4_K blocks of 256"});
  add("UnknownTensorType", with([](ModelBytes& b) { b.RawTensor("a", {256}, 77, 0, 0); }), kInvalid,
      {"tensor 1 'a'", "77", "does not know"});
  add("RemovedTensorType", with([](ModelBytes& b) { b.RawTensor("a", {256}, 4, 0, 0); }), kInvalid,
      {"tensor 1 'a'", "Q4_2", "removed"});
  add("Overlap", with([](ModelBytes& b) { b.Tensor("a", TensorType::kF32, {16}).RawTensor("b", {16}, 0, 32, 64); }),
      kInvalid, {"tensor 2 'b': its data begin at 32", "it must be 64"});
  add("Gap", with([](ModelBytes& b) { b.Tensor("a", TensorType::kF32, {16}).RawTensor("b", {16}, 0, 96, 64); }),
      kInvalid, {"tensor 2 'b': its data begin at 96", "it must be 64"});
  add("DataMissing",
      with([](ModelBytes& b) { b.Tensor("a", TensorType::kF32, {16}).RawTensor("b", {100}, 0, 64, 60); }), kLost,
      {"truncated: 340 of", "tensor 2 'b'"});
  return bad;
}

INSTANTIATE_TEST_SUITE_P(, BadModelTest, testing::ValuesIn(BadModels()),
                         [](const testing::TestParamInfo<BadModel>& bad) { return bad.param.name; });

// A source whose bytes end before its size says.
class ShrinkingSource : public MemoryByteSource {
 public:
  ShrinkingSource(std::string_view content, std::uint64_t size) : MemoryByteSource(content), size_(size) {}
  [[nodiscard]] std::uint64_t size_bytes() const override { return size_; }

 private:
  std::uint64_t size_;
};

TEST(ModelFileTest, AFileThatShrinksMeanwhileIsAnError) {
  const std::string bytes = SmallModel().Bytes();
  ShrinkingSource source(std::string_view(bytes).substr(0, 300), bytes.size());
  const auto model = ParseModelFile(source);
  EXPECT_TRUE(absl::IsDataLoss(model.status())) << model.status();
  EXPECT_THAT(std::string(model.status().message()), HasSubstr("became shorter"));
}

class ReadModelFileTest : public testing::Test {
 protected:
  std::filesystem::path Write(const std::string& name, const std::string& content) {
    std::filesystem::path path = directory_.path() / name;
    std::ofstream(path, std::ios::binary) << content;
    return path;
  }
  // One file of a set.
  static std::string Part(int index, int count, const std::string& tensor, int total = 3) {
    ModelBytes bytes;
    if (index == 0) bytes.Text("general.architecture", "qwen2");
    bytes.Key("split.no", ValueType::kUint16, static_cast<std::uint16_t>(index));
    bytes.Key("split.count", ValueType::kUint16, static_cast<std::uint16_t>(count));
    bytes.Key("split.tensors.count", ValueType::kInt32, total);
    bytes.Tensor(tensor, TensorType::kF32, {static_cast<std::uint64_t>(8 + index)});
    return bytes.Bytes();
  }
  // The message of an error with this code.
  static std::string Refusal(const std::filesystem::path& path, absl::StatusCode code) {
    const auto model = ReadModelFile(path);
    EXPECT_EQ(model.status().code(), code) << model.status();
    return std::string(model.status().message());
  }

  TemporaryDirectory directory_;
};

TEST_F(ReadModelFileTest, AFileIsRead) {
  const auto path = Write("m.gguf", SmallModel().Bytes());
  const auto model = ReadModelFile(path);
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(model->parts.size(), 1U);
  EXPECT_EQ(model->parts[0].path, path);
}

TEST_F(ReadModelFileTest, WhatIsNoModelFileIsNamed) {
  EXPECT_THAT(Refusal(directory_.path() / "none.gguf", absl::StatusCode::kNotFound), HasSubstr("none.gguf"));
  EXPECT_THAT(Refusal(directory_.path(), absl::StatusCode::kInvalidArgument), HasSubstr("is a directory"));
  const auto pipe = directory_.path() / "pipe";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_THAT(Refusal(pipe, absl::StatusCode::kInvalidArgument), HasSubstr("no regular file"));
  EXPECT_THAT(Refusal(Write("m.gguf", "hello, this is text"), absl::StatusCode::kInvalidArgument),
              HasSubstr("m.gguf: not a GGUF file"));
}

TEST_F(ReadModelFileTest, ASetIsOneModelWhicheverFileIsNamed) {
  Write("m-00001-of-00003.gguf", Part(0, 3, "a"));
  Write("m-00002-of-00003.gguf", Part(1, 3, "b"));
  const auto last = Write("m-00003-of-00003.gguf", Part(2, 3, "c"));
  const auto model = ReadModelFile(last);
  ASSERT_TRUE(model.ok()) << model.status();
  ASSERT_EQ(model->parts.size(), 3U);
  ASSERT_EQ(model->tensors.size(), 3U);
  EXPECT_EQ(model->tensors[1].name, "b");
  EXPECT_EQ(model->tensors[1].part_index, 1U);
  EXPECT_EQ(model->PositionOf(model->tensors[2]), model->parts[2].data_offset_bytes);
  EXPECT_EQ(model->Text("general.architecture"), "qwen2");
  EXPECT_EQ(model->tensor_bytes, 4U * (8 + 9 + 10));
  EXPECT_EQ(model->file_size_bytes,
            std::filesystem::file_size(last) + model->parts[0].file_size_bytes + model->parts[1].file_size_bytes);
}

TEST_F(ReadModelFileTest, AMissingFileOfASetIsNamed) {
  const auto first = Write("m-00001-of-00003.gguf", Part(0, 3, "a"));
  Write("m-00003-of-00003.gguf", Part(2, 3, "c"));
  EXPECT_THAT(Refusal(first, absl::StatusCode::kNotFound),
              HasSubstr("m-00002-of-00003.gguf: file 2 of 3 of the model is missing"));
}

TEST_F(ReadModelFileTest, ASetThatDoesNotFitTogetherIsRefused) {
  const auto renamed = Write("m.gguf", Part(0, 2, "a", 2));
  EXPECT_THAT(Refusal(renamed, absl::StatusCode::kInvalidArgument), HasSubstr("must end in -00001-of-00002.gguf"));
  const auto first = Write("m-00001-of-00002.gguf", Part(0, 2, "a", 2));
  Write("m-00002-of-00002.gguf", Part(0, 2, "b", 2));
  EXPECT_THAT(Refusal(first, absl::StatusCode::kInvalidArgument), HasSubstr("is not file 2 of 2"));
  Write("m-00002-of-00002.gguf", Part(1, 2, "a", 2));
  EXPECT_THAT(Refusal(first, absl::StatusCode::kInvalidArgument), HasSubstr("tensor 'a' stands in an earlier file"));
  Write("m-00002-of-00002.gguf", Part(1, 2, "b", 5).substr(0, 150));
  EXPECT_THAT(Refusal(first, absl::StatusCode::kDataLoss), HasSubstr("m-00002-of-00002.gguf: truncated"));
  Write("m-00002-of-00002.gguf", Part(1, 2, "b", 2));
  EXPECT_TRUE(ReadModelFile(first).ok());
  const auto other = Write("m-00001-of-00002.gguf", Part(0, 2, "a", 7));
  EXPECT_THAT(Refusal(other, absl::StatusCode::kInvalidArgument), HasSubstr("should have 7 tensors and has 2"));
  const auto odd = Write("n-00006-of-00002.gguf", Part(5, 2, "a"));
  EXPECT_THAT(Refusal(odd, absl::StatusCode::kInvalidArgument), HasSubstr("file 6 of a set of 2"));
}

}  // namespace
}  // namespace ballast::gguf

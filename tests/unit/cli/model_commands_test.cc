// The commands that work on files alone: no coordinator, no worker.
#include <gmock/gmock.h>

#include <fstream>

#include "common/base/file.h"
#include "tests/unit/cli/command_fixture.h"

namespace ballast::cli {
namespace {

using testing::HasSubstr;
using testing::Not;

class ModelCommandsTest : public CommandTest {
 protected:
  ModelCommandsTest() {
    // An address at which nobody answers: a command that asked a coordinator would end with another code.
    variables_["BALLAST_COORDINATOR"] = "unix:" + (directory_.path() / "nobody").string();
  }
  // A tiny model in a file.
  std::string Create(const std::string& quant) {
    EXPECT_EQ(Run({"models", "create", "--shape", "tiny", "--quant", quant, "-o", file_}), 0) << err();
    return file_;
  }

  const std::string file_ = (directory_.path() / "tiny.gguf").string();
};

TEST_F(ModelCommandsTest, AModelIsCreatedAndInspected) {
  Create("Q4_K_M");
  EXPECT_THAT(err(), HasSubstr("tiny.gguf: 1.97 MiB written in"));
  EXPECT_THAT(out(), HasSubstr("tiny (synthetic)  Q4_K_M"));
  ASSERT_EQ(Run({"models", "inspect", file_}), 0) << err();
  EXPECT_THAT(out(), HasSubstr("architecture:      qwen2\n"));
  EXPECT_THAT(out(), HasSubstr("level:             Q4_K_M\n"));
  EXPECT_THAT(out(), HasSubstr("heads:             4 of length 64, 1 with keys and values of their own\n"));
  EXPECT_THAT(out(), HasSubstr("weights:           1.94 MiB (2035968 bytes)\n"));
  EXPECT_THAT(out(), HasSubstr("\nQ4_K"));
  EXPECT_THAT(out(), HasSubstr("tokenizer.ggml.tokens"));
  EXPECT_THAT(out(), HasSubstr("1024 × string"));
  EXPECT_THAT(out(), Not(HasSubstr("blk.0.attn_q.weight")));
}

TEST_F(ModelCommandsTest, InspectPrintsTensorsAndTheFormsForPrograms) {
  Create("Q4_K_M");
  ASSERT_EQ(Run({"models", "inspect", file_, "--tensors"}), 0) << err();
  EXPECT_THAT(out(), HasSubstr("blk.0.ffn_down.weight"));
  EXPECT_THAT(out(), HasSubstr("768 x 256"));
  ASSERT_EQ(Run({"models", "inspect", file_, "--tensors", "--output", "csv"}), 0);
  EXPECT_THAT(
      out(),
      HasSubstr("name,type,dimensions,size_bytes,offset_bytes,shard\r\ntoken_embd.weight,Q6_K,256x1024,215040,"));
  ASSERT_EQ(Run({"models", "inspect", file_, "--output", "csv"}), 0);
  EXPECT_THAT(out(), HasSubstr("\r\ntiny (synthetic),Q4_K_M,"));
  ASSERT_EQ(Run({"models", "inspect", file_, "--output", "json"}), 0);
  EXPECT_THAT(out(), HasSubstr("\"weight_bytes\": 2035968"));
  EXPECT_THAT(out(), HasSubstr("\"tensors\": []"));
  ASSERT_EQ(Run({"models", "inspect", file_, "--tensors", "--output", "json"}), 0);
  EXPECT_THAT(out(), HasSubstr("\"name\": \"token_embd.weight\""));
}

TEST_F(ModelCommandsTest, APlanHasEveryLevelAndWritesNothing) {
  ASSERT_EQ(Run({"models", "create", "--shape", "qwen2.5-0.5b", "--plan"}), 0) << err();
  for (const char* text : {"Q2_K", "332659200", "Q4_0", "346206720", "Q8_0", "525120000", "F16", "494032768"}) {
    EXPECT_THAT(out(), HasSubstr(text));
  }
  ASSERT_EQ(Run({"models", "create", "--shape", "tiny", "--quant", "q8_0,Q2_K", "--plan", "--output", "csv"}), 0);
  const std::size_t first = out().find(",Q2_K,");
  EXPECT_NE(first, std::string::npos);
  EXPECT_GT(out().find(",Q8_0,"), first) << "lowest quality first";
  EXPECT_TRUE(std::filesystem::is_empty(directory_.path()));
}

TEST_F(ModelCommandsTest, CreatingAgainChangesNothingAndAnotherModelIsRefused) {
  Create("Q2_K");
  ASSERT_EQ(Run({"models", "create", "--shape", "tiny", "--quant", "Q2_K", "-o", file_}), 0) << err();
  EXPECT_THAT(err(), HasSubstr("was there already, complete"));
  EXPECT_EQ(Run({"models", "create", "--shape", "tiny", "--quant", "Q2_K", "-o", file_, "--seed", "2"}), 2);
  EXPECT_THAT(err(), HasSubstr("is there already, and is not this model\n  try: another name"));
}

TEST_F(ModelCommandsTest, AnInterruptEndsAWriteWithCode130) {
  interrupts_.Raise();
  EXPECT_EQ(Run({"models", "create", "--shape", "tiny", "--quant", "F16", "-o", file_}), 130);
  EXPECT_TRUE(std::filesystem::is_empty(directory_.path()));
  EXPECT_EQ(Run({"models", "create", "--shape", "tiny", "--quant", "F16", "-o", file_, "--keep-partial"}), 130);
  EXPECT_TRUE(std::filesystem::exists(file_ + ".partial"));
  interrupts_.Acknowledge();
  EXPECT_EQ(Run({"models", "create", "--shape", "tiny", "--quant", "F16", "-o", file_}), 0) << err();
  EXPECT_FALSE(std::filesystem::exists(file_ + ".partial"));
}

TEST_F(ModelCommandsTest, EstimatesOfAShapeAndOfAFile) {
  ASSERT_EQ(Run({"models", "estimate", "--shape", "qwen2.5-7b", "--runtime", "llama.cpp", "--context", "32768"}), 0)
      << err();
  EXPECT_THAT(out(), HasSubstr("MUST FIT"));
  EXPECT_THAT(out(), HasSubstr("1.75 GiB")) << "the KV cache";
  const std::string file = Create("Q6_K");
  ASSERT_EQ(Run({"models", "estimate", file, "--loader", "mmap+populate", "--lock", "--output", "csv"}), 0) << err();
  EXPECT_THAT(out(), HasSubstr("tiny (synthetic),Q6_K,BUILTIN,MMAP_POPULATE,true,false,512,"));
  ASSERT_EQ(Run({"models", "estimate", file, "--loader", "direct", "--output", "json"}), 0) << err();
  EXPECT_THAT(out(), HasSubstr("\"loader\": \"DIRECT\""));
  EXPECT_THAT(out(), HasSubstr("\"weight_file_bytes\": 0"));
}

TEST_F(ModelCommandsTest, ABadFileIsExplained) {
  Create("Q8_0");
  const std::string whole = *base::ReadFile(file_);
  std::ofstream(file_, std::ios::binary | std::ios::trunc) << whole.substr(0, whole.size() - 1000);
  EXPECT_EQ(Run({"models", "inspect", file_}), 2);
  EXPECT_THAT(err(), HasSubstr("tiny.gguf: truncated: 1000 of"));
  EXPECT_THAT(err(), HasSubstr("  try: fetch or copy the file again"));
  std::ofstream(file_, std::ios::binary | std::ios::trunc) << "no model at all";
  EXPECT_EQ(Run({"models", "estimate", file_}), 2);
  EXPECT_THAT(err(), HasSubstr("not a GGUF file"));
  EXPECT_EQ(Run({"models", "inspect", file_}), 2);
  EXPECT_THAT(err(), HasSubstr("  try: give the path of a GGUF file"));
  EXPECT_EQ(Run({"models", "inspect", file_ + ".none"}), 4);
}

TEST_F(ModelCommandsTest, APlaceThatCannotBeWrittenIsExplained) {
  const std::string nowhere = (directory_.path() / "none" / "x.gguf").string();
  EXPECT_EQ(Run({"models", "create", "--shape", "tiny", "--quant", "Q2_K", "-o", nowhere}), 2);
  EXPECT_THAT(err(), HasSubstr("error: cannot write " + nowhere + ": "));
  EXPECT_THAT(err(),
              HasSubstr("No such file or directory\n  try: make the directory first, or give another -o FILE\n"));
}

TEST_F(ModelCommandsTest, WaysToLoadAreWrittenAsPeopleDo) {
  for (const char* loader : {"mmap+populate", "mmap_populate", "MMAP_POPULATE"}) {
    EXPECT_EQ(Run({"models", "estimate", "--shape", "tiny", "--loader", loader}), 0) << err();
  }
  EXPECT_EQ(Run({"models", "estimate", "--shape", "tiny", "--loader", "mmap+populat"}), 2);
  EXPECT_THAT(err(), HasSubstr("--loader: 'mmap+populat' is not one of its values; did you mean 'mmap+populate'?"));
  EXPECT_THAT(err(), HasSubstr("  try: one of mmap, mmap+populate, read, direct\n"));
  EXPECT_EQ(Run({"models", "estimate", "--shape", "tiny", "--no-repack"}), 2);
  EXPECT_THAT(err(), HasSubstr("--no-repack has no meaning for the built-in loader\n  try: --runtime llama.cpp\n"));
}

}  // namespace
}  // namespace ballast::cli

#include "worker/agent/program_output.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <thread>

#include "common/base/file.h"
#include "common/base/text.h"

namespace ballast::agent {
namespace {

TEST(TailBufferTest, KeepsTheEnd) {
  TailBuffer tail(8);
  EXPECT_EQ(tail.Text(), "");
  tail.Append("abc");
  EXPECT_EQ(tail.Text(), "abc");
  tail.Append("defgh");
  EXPECT_EQ(tail.Text(), "abcdefgh");
  tail.Append("ij");
  EXPECT_EQ(tail.Text(), "cdefghij");
  EXPECT_EQ(tail.Text(3), "hij");
  tail.Append("0123456789ABCDEF");
  EXPECT_EQ(tail.Text(), "89ABCDEF");
  tail.Append("x");
  EXPECT_EQ(tail.Text(), "9ABCDEFx");
  EXPECT_EQ(tail.total(), 27U);
}

TEST(TailBufferTest, IsAlwaysUtf8) {
  TailBuffer tail(7);
  tail.Append("内存内");  // nine bytes: the first character is cut
  EXPECT_EQ(tail.Text(), "存内");
  TailBuffer binary(6);
  binary.Append("\xff\xfe\xfd\xfc\xfb\xfa");
  const std::string text = binary.Text(6);
  EXPECT_EQ(base::FindInvalidUtf8(text), std::string::npos);
  EXPECT_LE(text.size(), 6U);
  EXPECT_FALSE(text.empty());
}

TEST(ProgramOutputTest, BothStreamsApart) {
  const auto output = ProgramOutput::Open().value();
  ASSERT_TRUE(base::WriteAll(output->output_fd(), "to standard output\n").ok());
  ASSERT_TRUE(base::WriteAll(output->error_fd(), "to standard error\n").ok());
  output->Finish();
  EXPECT_EQ(output->Output().tail, "to standard output\n");
  EXPECT_EQ(output->Error().tail, "to standard error\n");
  EXPECT_EQ(output->Error().bytes, 18U);
}

TEST(ProgramOutputTest, AWriterIsNeverBlocked) {
  constexpr std::size_t kBytes = 32U << 20U;
  const auto output = ProgramOutput::Open().value();
  const std::string piece(100'000, 'x');
  std::size_t written = 0;
  while (written < kBytes) {
    ASSERT_TRUE(base::WriteAll(output->output_fd(), piece).ok());
    written += piece.size();
  }
  ASSERT_TRUE(base::WriteAll(output->output_fd(), "the end").ok());
  output->Finish();
  EXPECT_EQ(output->Output().bytes, written + 7);
  EXPECT_EQ(output->Output().tail.size(), kOutputTailBytes);
  EXPECT_TRUE(output->Output().tail.ends_with("xthe end"));
  EXPECT_EQ(output->Output(10).tail, "xxxthe end");
}

TEST(ProgramOutputTest, DoesNotWaitForWhoKeepsTheOtherEnd) {
  const auto output = ProgramOutput::Open().value();
  const base::Fd kept(::dup(output->output_fd()));
  ASSERT_TRUE(base::WriteAll(kept.get(), "said").ok());
  output->Finish();
  EXPECT_EQ(output->Output().tail, "said");
  output->Finish();
}

}  // namespace
}  // namespace ballast::agent

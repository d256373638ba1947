#include "worker/runner/control_channel.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <array>
#include <random>
#include <string>

#include "ballast/v1/runner.pb.h"
#include "common/base/fd.h"

namespace ballast::runner {
namespace {

v1::RunnerReport StateReport(std::uint64_t held) {
  v1::RunnerReport report;
  report.mutable_state()->set_held_bytes(held);
  return report;
}

std::string Size(std::uint32_t size) {
  std::string bytes;
  for (unsigned i = 0; i < 4; ++i) bytes.push_back(static_cast<char>((size >> (8 * i)) & 0xffU));
  return bytes;
}

TEST(FrameDecoderTest, GivesMessagesHoweverTheBytesAreCut) {
  std::string stream;
  for (std::uint64_t held : {1U, 70000U, 3U}) stream += EncodeFrame(StateReport(held)).value();
  for (std::size_t piece = 1; piece <= stream.size(); ++piece) {
    FrameDecoder decoder;
    std::vector<std::uint64_t> seen;
    for (std::size_t offset = 0; offset < stream.size(); offset += piece) {
      decoder.Append(std::string_view(stream).substr(offset, piece));
      v1::RunnerReport report;
      while (true) {
        const auto complete = decoder.Next(&report);
        ASSERT_TRUE(complete.ok()) << complete.status();
        if (!*complete) break;
        seen.push_back(report.state().held_bytes());
      }
    }
    EXPECT_EQ(seen, (std::vector<std::uint64_t>{1, 70000, 3})) << "in pieces of " << piece;
  }
}

TEST(FrameDecoderTest, AnEmptyMessageIsAMessage) {
  FrameDecoder decoder;
  decoder.Append(Size(0));
  v1::RunnerReport report;
  EXPECT_TRUE(decoder.Next(&report).value());
  EXPECT_FALSE(decoder.Next(&report).value());
}

TEST(FrameDecoderTest, ImpossibleSizesBreakTheStreamForGood) {
  for (const std::uint32_t size : {static_cast<std::uint32_t>(kMaxMessageBytes) + 1, 0x80000000U, 0xffffffffU}) {
    FrameDecoder decoder;
    decoder.Append(Size(size) + "xxxx");
    v1::RunnerReport report;
    EXPECT_EQ(decoder.Next(&report).status().code(), absl::StatusCode::kDataLoss);
    decoder.Append(EncodeFrame(StateReport(1)).value());
    EXPECT_EQ(decoder.Next(&report).status().code(), absl::StatusCode::kDataLoss);
  }
}

TEST(FrameDecoderTest, BytesThatAreNoMessageBreakTheStream) {
  FrameDecoder decoder;
  decoder.Append(Size(3) + "\xff\xff\xff");
  v1::RunnerReport report;
  EXPECT_EQ(decoder.Next(&report).status().code(), absl::StatusCode::kDataLoss);
}

TEST(FrameDecoderTest, SurvivesAnyBytes) {
  std::mt19937 random(7);
  for (int round = 0; round < 5000; ++round) {
    FrameDecoder decoder;
    std::string bytes(random() % 64, '\0');
    for (char& c : bytes) c = static_cast<char>(random() % 4 == 0 ? random() : random() % 16);
    if (bytes.size() >= 4 && round % 2 == 0) bytes[1] = bytes[2] = bytes[3] = '\0';
    decoder.Append(bytes);
    v1::RunnerReport report;
    for (int i = 0; i < 20; ++i) {
      const auto complete = decoder.Next(&report);
      if (!complete.ok() || !*complete) break;
    }
  }
}

TEST(EncodeFrameTest, RefusesWhatTheOtherEndWouldRefuse) {
  v1::RunnerReport report;
  report.mutable_event()->set_message(std::string(kMaxMessageBytes, 'x'));
  EXPECT_EQ(EncodeFrame(report).status().code(), absl::StatusCode::kOutOfRange);
}

class FrameSenderTest : public ::testing::Test {
 protected:
  FrameSenderTest() {
    std::array<int, 2> ends{};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
    near_.Reset(ends[0]);
    far_.Reset(ends[1]);
  }
  base::Fd near_;
  base::Fd far_;
};

// The other end does not read until the channel is full. What it reads then is whole messages, in order, without the
// dropped ones.
TEST_F(FrameSenderTest, DropsWhatDoesNotFitAndKeepsTheStreamWhole) {
  FrameSender sender(near_.get());
  constexpr std::uint64_t kSent = 200'000;
  for (std::uint64_t i = 1; i <= kSent; ++i) ASSERT_TRUE(sender.SendOrDrop(StateReport(i)).ok());
  FrameDecoder decoder;
  std::uint64_t last = 0;
  std::uint64_t count = 0;
  const auto read = [&] {
    ASSERT_TRUE(ReceiveAvailable(far_.get(), &decoder).ok());
    v1::RunnerReport report;
    while (decoder.Next(&report).value()) {
      EXPECT_GT(report.state().held_bytes(), last);
      last = report.state().held_bytes();
      ++count;
    }
  };
  read();
  EXPECT_GT(count, 0U);
  EXPECT_LT(count, kSent);
  ASSERT_TRUE(sender.Send(StateReport(kSent + 1)).ok());
  read();
  EXPECT_EQ(last, kSent + 1);
}

TEST_F(FrameSenderTest, AClosedEndIsTold) {
  far_.Reset();
  FrameSender sender(near_.get());
  EXPECT_EQ(sender.Send(StateReport(1)).code(), absl::StatusCode::kUnavailable);
  FrameSender other(near_.get());
  EXPECT_EQ(other.SendOrDrop(StateReport(1)).code(), absl::StatusCode::kUnavailable);
  FrameDecoder decoder;
  EXPECT_EQ(ReceiveAvailable(near_.get(), &decoder).code(), absl::StatusCode::kOutOfRange);
}

// Two threads' short messages do not mix, and what does not fit is refused as a whole.
TEST_F(FrameSenderTest, ShortMessagesAreSentWholeOrNotAtAll) {
  absl::Status status;
  std::uint64_t sent = 0;
  while ((status = SendAtOnce(near_.get(), StateReport(sent + 1))).ok()) ++sent;
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  FrameDecoder decoder;
  ASSERT_TRUE(ReceiveAvailable(far_.get(), &decoder).ok());
  v1::RunnerReport report;
  std::uint64_t read = 0;
  while (decoder.Next(&report).value()) EXPECT_EQ(report.state().held_bytes(), ++read);
  EXPECT_EQ(read, sent);
  EXPECT_GT(read, 0U);
}

TEST_F(FrameSenderTest, AtOnceOnlyShortMessagesAreSent) {
  v1::RunnerReport report;
  report.mutable_event()->set_message(std::string(kMaxShortMessageBytes, 'x'));
  EXPECT_EQ(SendAtOnce(near_.get(), report).code(), absl::StatusCode::kOutOfRange);
  far_.Reset();
  EXPECT_EQ(SendAtOnce(near_.get(), StateReport(1)).code(), absl::StatusCode::kUnavailable);
}

}  // namespace
}  // namespace ballast::runner

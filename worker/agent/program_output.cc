#include "worker/agent/program_output.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "common/base/status.h"
#include "common/base/text.h"

namespace ballast::agent {
namespace {

constexpr std::size_t kLongestCharacter = 4;
// What is taken at the end: a pipe's content, or that of one that somebody made larger. Whoever goes on writing all the
// same is not followed.
constexpr std::size_t kMostAtEnd = 1U << 20U;

bool Continues(char byte) {
  return (static_cast<unsigned char>(byte) & 0xc0U) == 0x80U;
}

}  // namespace

void TailBuffer::Append(std::string_view bytes) {
  total_ += bytes.size();
  if (bytes.size() > bytes_.size()) bytes.remove_prefix(bytes.size() - bytes_.size());
  std::size_t place = (total_ - bytes.size()) % bytes_.size();
  while (!bytes.empty()) {
    const std::size_t piece = std::min(bytes.size(), bytes_.size() - place);
    std::memcpy(bytes_.data() + place, bytes.data(), piece);
    bytes.remove_prefix(piece);
    place = 0;
  }
}

std::string TailBuffer::Text(std::size_t most) const {
  const std::size_t size = std::min<std::uint64_t>({total_, bytes_.size(), most});
  std::string raw;
  raw.reserve(size);
  const std::size_t begin = (total_ - size) % bytes_.size();
  const std::size_t first = std::min(size, bytes_.size() - begin);
  raw.append(bytes_.data() + begin, first);
  raw.append(bytes_.data(), size - first);
  const auto cut_character = [](std::string_view* text) {
    for (std::size_t i = 1; i < kLongestCharacter && !text->empty() && Continues(text->front()); ++i) {
      text->remove_prefix(1);
    }
  };
  std::string_view text = raw;
  if (size < total_) cut_character(&text);
  std::string repaired = base::RepairUtf8(text);
  if (repaired.size() <= most) return repaired;
  // Replacements are longer than what they stand for.
  text = std::string_view(repaired).substr(repaired.size() - most);
  cut_character(&text);
  return std::string(text);
}

absl::StatusOr<std::unique_ptr<ProgramOutput>> ProgramOutput::Open() {
  std::unique_ptr<ProgramOutput> output(new ProgramOutput());
  for (Pipe& pipe : output->streams_) {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) return base::ErrnoStatus(errno, "make a pipe for the program's output");
    pipe.reader.Reset(ends[0]);
    pipe.writer.Reset(ends[1]);
    // This end alone: the program's own reads and writes stay as it expects them.
    if (::fcntl(ends[0], F_SETFL, O_NONBLOCK) != 0) return base::ErrnoStatus(errno, "fcntl O_NONBLOCK");
  }
  output->finish_.Reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!output->finish_.valid()) return base::ErrnoStatus(errno, "eventfd");
  output->thread_ = std::jthread([raw = output.get()] { raw->Collect(); });
  return output;
}

ProgramOutput::~ProgramOutput() {
  Finish();
}

void ProgramOutput::CloseWriters() {
  for (Pipe& pipe : streams_) pipe.writer.Reset();
}

void ProgramOutput::Finish() {
  CloseWriters();
  if (!thread_.joinable()) return;
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t ignored = ::write(finish_.get(), &one, sizeof one);
  thread_.join();
}

bool ProgramOutput::Drain(Pipe* pipe) {
  for (std::size_t taken = 0; taken < kMostAtEnd;) {
    const ssize_t n = ::read(pipe->reader.get(), buffer_.data(), buffer_.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) return true;
    if (n <= 0) return false;
    taken += static_cast<std::size_t>(n);
    const std::scoped_lock lock(mutex_);
    pipe->tail.Append(std::string_view(buffer_.data(), static_cast<std::size_t>(n)));
  }
  return true;
}

void ProgramOutput::Collect() {
  std::array<bool, 2> open = {true, true};
  while (true) {
    std::array<pollfd, 3> polled = {{{open[0] ? streams_[0].reader.get() : -1, POLLIN, 0},
                                     {open[1] ? streams_[1].reader.get() : -1, POLLIN, 0},
                                     {finish_.get(), POLLIN, 0}}};
    if (::poll(polled.data(), polled.size(), -1) < 0 && errno != EINTR) return;
    const bool last = polled[2].revents != 0;
    for (std::size_t i = 0; i < streams_.size(); ++i) {
      if (open[i] && (last || polled[i].revents != 0)) open[i] = Drain(&streams_[i]);
    }
    if (last) return;
  }
}

ProgramOutput::Stream ProgramOutput::Read(std::size_t stream, std::size_t most_tail_bytes) const {
  const std::scoped_lock lock(mutex_);
  return {.tail = streams_[stream].tail.Text(most_tail_bytes), .bytes = streams_[stream].tail.total()};
}

}  // namespace ballast::agent

#include "worker/agent/kernel_log.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <filesystem>
#include <system_error>

#include <fmt/format.h>

#include "common/base/file.h"
#include "common/base/status.h"

namespace ballast::agent {
namespace {

constexpr std::size_t kMaxMessages = 4096;
constexpr std::size_t kMaxMessageBytes = 512;
// How the kernel names the first of all pid namespaces, whose identifiers its log uses.
constexpr std::string_view kInitialPidNamespace = "pid:[4026531836]";

bool IsDigit(char c) {
  return c >= '0' && c <= '9';
}

// Whether `number` stands at `position` as a whole number.
bool IsWholeNumberAt(std::string_view text, std::size_t position, std::string_view number) {
  if (!text.substr(position).starts_with(number)) return false;
  const std::size_t end = position + number.size();
  return end == text.size() || !IsDigit(text[end]);
}

bool IsAbout(std::string_view text, std::string_view pid) {
  for (const std::string_view lead : {"process ", "pid=", "[", "PID: "}) {
    for (std::size_t at = text.find(lead); at != std::string_view::npos; at = text.find(lead, at + 1)) {
      std::size_t number = at + lead.size();
      while (lead == "[" && number < text.size() && text[number] == ' ') ++number;
      if (IsWholeNumberAt(text, number, pid)) return true;
    }
  }
  return false;
}

}  // namespace

absl::StatusOr<KernelLog> KernelLog::Open(const std::string& root) {
  const std::filesystem::path path = std::filesystem::path(root) / "dev/kmsg";
  BALLAST_ASSIGN_OR_RETURN(base::Fd fd, base::OpenFile(path, O_RDONLY | O_NONBLOCK));
  if (::lseek(fd.get(), 0, SEEK_END) < 0) return base::ErrnoStatus(errno, fmt::format("seek in {}", path.string()));
  std::error_code error;
  const std::filesystem::path name_space =
      std::filesystem::read_symlink(std::filesystem::path(root) / "proc/self/ns/pid", error);
  return KernelLog(std::move(fd), !error && name_space.string() == kInitialPidNamespace);
}

std::vector<std::string> KernelLog::ReadMessages() {
  std::vector<std::string> messages;
  std::array<char, 8192> buffer;
  while (messages.size() < kMaxMessages) {
    const ssize_t n = ::read(fd_.get(), buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EPIPE) {  // overwritten; the next read goes on behind the gap
      gap_ = true;
      continue;
    }
    if (n < 0 && errno == EAGAIN) return messages;
    if (n <= 0) break;
    const auto text = KernelMessageText(std::string_view(buffer.data(), static_cast<std::size_t>(n)));
    if (text) messages.emplace_back(text->substr(0, kMaxMessageBytes));
  }
  gap_ = true;  // not read to its end
  return messages;
}

std::optional<std::string_view> KernelMessageText(std::string_view record) {
  const std::size_t semicolon = record.find(';');
  if (semicolon == std::string_view::npos || semicolon == 0 || !IsDigit(record.front())) return std::nullopt;
  const std::string_view rest = record.substr(semicolon + 1);
  return rest.substr(0, rest.find('\n'));
}

std::vector<std::string> MessagesAbout(const std::vector<std::string>& messages, pid_t pid, std::size_t limit) {
  const std::string number = fmt::format("{}", pid);
  std::vector<std::string> about;
  for (const std::string& message : messages) {
    if (IsAbout(message, number)) about.push_back(message);
  }
  if (about.size() > limit) about.erase(about.begin(), about.end() - static_cast<std::ptrdiff_t>(limit));
  return about;
}

OomVerdict FindOomVerdict(const std::vector<std::string>& messages, pid_t pid) {
  const std::string number = fmt::format("{}", pid);
  OomVerdict verdict = OomVerdict::kNone;
  for (const std::string& message : messages) {
    if (!IsAbout(message, number)) continue;
    const bool killed = message.find("Killed process") != std::string::npos;
    const bool chosen = message.find("oom-kill:") != std::string::npos;
    if (!killed && !chosen) continue;
    if (message.find("Memory cgroup out of memory") != std::string::npos ||
        message.find("CONSTRAINT_MEMCG") != std::string::npos) {
      return OomVerdict::kMemcg;
    }
    if (message.find("Out of memory") != std::string::npos || message.find("CONSTRAINT_NONE") != std::string::npos) {
      return OomVerdict::kGlobal;
    }
    verdict = OomVerdict::kUnclear;
  }
  return verdict;
}

bool NamesOtherVictim(const std::vector<std::string>& messages, pid_t pid) {
  constexpr std::string_view kLead = "Killed process ";
  const std::string number = fmt::format("{}", pid);
  for (const std::string_view message : messages) {
    const std::size_t lead = message.find(kLead);
    if (lead == std::string_view::npos) continue;
    const std::size_t victim = lead + kLead.size();
    if (victim < message.size() && IsDigit(message[victim]) && !IsWholeNumberAt(message, victim, number)) return true;
  }
  return false;
}

}  // namespace ballast::agent

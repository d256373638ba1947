#include "worker/agent/data_directory.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <optional>
#include <string_view>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include "common/base/file.h"
#include "common/base/next_step.h"
#include "common/base/status.h"

namespace ballast::agent {
namespace {

constexpr std::string_view kLockFile = "lock";
constexpr std::string_view kDeviceIdFile = "device_id";
constexpr std::string_view kScratchDirectory = "scratch";
constexpr std::size_t kIdLength = 10;
constexpr std::size_t kMaxIdLength = 64;
// Crockford's base32: no letter that is mistaken for a digit or another letter.
constexpr std::string_view kAlphabet = "0123456789abcdefghjkmnpqrstvwxyz";

absl::StatusOr<std::string> NewDeviceId() {
  std::array<std::uint8_t, kIdLength> random{};
  if (::getrandom(random.data(), random.size(), 0) != static_cast<ssize_t>(random.size())) {
    return base::ErrnoStatus(errno, "getrandom");
  }
  std::string id = "d-";
  for (const std::uint8_t byte : random) id.push_back(kAlphabet[byte % kAlphabet.size()]);
  return id;
}

bool IsDeviceId(std::string_view text) {
  return !text.empty() && text.size() <= kMaxIdLength && std::ranges::all_of(text, [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '.' || c == '-' ||
           c == '_';
  });
}

}  // namespace

absl::StatusOr<DataDirectory> DataDirectory::Open(const std::filesystem::path& path) {
  BALLAST_RETURN_IF_ERROR(base::EnsureWritableDirectory(path, base::kPrivateDirectoryMode));
  BALLAST_ASSIGN_OR_RETURN(base::Fd lock, base::OpenFile(path / kLockFile, O_RDWR | O_CREAT, 0600));
  static_cast<void>(::fchmod(lock.get(), 0600));  // whoever may read it may lock it
  int result = 0;
  do {
    result = ::flock(lock.get(), LOCK_EX | LOCK_NB);
  } while (result != 0 && errno == EINTR);
  if (result != 0) {
    if (errno == EWOULDBLOCK) {
      return base::WithNextStep(
          absl::FailedPreconditionError(fmt::format("data directory {}: another worker uses it", path.string())),
          "give each worker a --data-dir of its own, or end that one");
    }
    return base::ErrnoStatus(errno, fmt::format("lock {}", (path / kLockFile).string()));
  }
  return DataDirectory(path, std::move(lock));
}

absl::StatusOr<std::string> DataDirectory::DeviceId() const {
  const std::filesystem::path file = path_ / kDeviceIdFile;
  absl::StatusOr<std::string> content = base::ReadFile(file, 4096);
  if (content.ok()) {
    std::string_view id = *content;
    if (id.ends_with('\n')) id.remove_suffix(1);
    if (!IsDeviceId(id)) {
      return base::WithNextStep(absl::DataLossError(fmt::format("{} does not hold a device identifier", file.string())),
                                "write the device's identifier there, give it with --device-id, or remove the file to "
                                "make this a new device");
    }
    return std::string(id);
  }
  if (!absl::IsNotFound(content.status())) return content.status();
  BALLAST_ASSIGN_OR_RETURN(std::string id, NewDeviceId());
  BALLAST_RETURN_IF_ERROR(base::WriteFileAtomically(file, id + "\n"));
  return id;
}

absl::StatusOr<std::filesystem::path> DataDirectory::ScratchDirectory() const {
  std::error_code error;
  const std::filesystem::path scratch = std::filesystem::absolute(path_, error) / kScratchDirectory;
  std::filesystem::remove_all(scratch, error);  // what cannot be removed shows in what follows, or does no harm
  BALLAST_RETURN_IF_ERROR(base::EnsureWritableDirectory(scratch));
  return scratch;
}

std::string NextStepOfDataDirectory(const absl::Status& status) {
  if (std::optional<std::string> step = base::NextStepOf(status)) return *std::move(step);
  switch (status.code()) {
    case absl::StatusCode::kPermissionDenied:
      return "let this user write in the data directory, or give another --data-dir";
    case absl::StatusCode::kResourceExhausted:
      return "free space on the disk of the data directory, or give a --data-dir on one that has room";
    case absl::StatusCode::kFailedPrecondition:
      return "give a --data-dir that is a directory or does not exist yet";
    default:
      return "give a --data-dir on a disk that can be written, or remove what is in the way";
  }
}

}  // namespace ballast::agent

#include "common/base/sha256.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <utility>

#include <fmt/format.h>
#include <openssl/evp.h>

#include "common/base/logging.h"
#include "common/base/status.h"

namespace ballast::base {
namespace {

constexpr std::size_t kDigestBytes = 32;
constexpr std::size_t kPieceBytes = 1U << 20U;

// OpenSSL refuses only where there is no memory, or where it was built or configured without SHA-256; nothing that
// relies on digests can go on then.
void Require(int result) {
  if (result == 1) return;
  base::Log().critical("OpenSSL computes no SHA-256 here");
  std::abort();
}

}  // namespace

struct Sha256::Context {
  Context() : digest(EVP_MD_CTX_new()) { Begin(); }
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;
  ~Context() { EVP_MD_CTX_free(digest); }
  void Begin() const { Require(digest == nullptr ? 0 : EVP_DigestInit_ex(digest, EVP_sha256(), nullptr)); }

  EVP_MD_CTX* const digest;
};

Sha256::Sha256() : context_(std::make_unique<Context>()) {}
Sha256::Sha256(Sha256&& other) noexcept = default;
Sha256& Sha256::operator=(Sha256&& other) noexcept = default;
Sha256::~Sha256() = default;

void Sha256::Update(std::string_view bytes) {
  Require(EVP_DigestUpdate(context_->digest, bytes.data(), bytes.size()));
}

std::string Sha256::Finish() {
  std::array<unsigned char, kDigestBytes> digest{};
  Require(EVP_DigestFinal_ex(context_->digest, digest.data(), nullptr));
  context_->Begin();
  std::string text;
  for (const unsigned char byte : digest) text += fmt::format("{:02x}", byte);
  return text;
}

absl::Status ReadInPieces(int fd, std::uint64_t bytes, const std::string& name, const std::stop_token& stop,
                          const std::function<absl::Status(std::string_view)>& visit) {
  std::string buffer(static_cast<std::size_t>(std::min<std::uint64_t>(bytes, kPieceBytes)), '\0');
  for (std::uint64_t position = 0; position < bytes;) {
    if (stop.stop_requested()) return absl::CancelledError(fmt::format("reading {} was cancelled", name));
    const std::size_t wanted = static_cast<std::size_t>(std::min<std::uint64_t>(buffer.size(), bytes - position));
    const ssize_t n = ::pread(fd, buffer.data(), wanted, static_cast<off_t>(position));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoStatus(errno, fmt::format("read {}", name));
    if (n == 0) return absl::DataLossError(fmt::format("{} ends after {} of {} bytes", name, position, bytes));
    BALLAST_RETURN_IF_ERROR(visit(std::string_view(buffer.data(), static_cast<std::size_t>(n))));
    position += static_cast<std::uint64_t>(n);
  }
  return absl::OkStatus();
}

bool IsSha256(std::string_view text) {
  return text.size() == 2 * kDigestBytes &&
         std::ranges::all_of(text, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

}  // namespace ballast::base

// SHA-256 (FIPS 180-4) of bytes and files.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <stop_token>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace ballast::base {

// Takes bytes piece by piece. Move-only. Not thread-safe.
class Sha256 {
 public:
  Sha256();
  Sha256(Sha256&& other) noexcept;
  Sha256& operator=(Sha256&& other) noexcept;
  ~Sha256();

  void Update(std::string_view bytes);
  // The digest of everything so far, as 64 lower-case hexadecimal digits; then it begins anew.
  [[nodiscard]] std::string Finish();

 private:
  struct Context;
  std::unique_ptr<Context> context_;
};

// Feeds `bytes` bytes of an open file, from its beginning, to `visit`, a megabyte at a time. DATA_LOSS where the file
// is shorter; CANCELLED on `stop`, which is looked at before each piece; what `visit` returns. `name` is for messages.
[[nodiscard]] absl::Status ReadInPieces(int fd, std::uint64_t bytes, const std::string& name,
                                        const std::stop_token& stop,
                                        const std::function<absl::Status(std::string_view)>& visit);

// Whether the text is a digest: 64 lower-case hexadecimal digits.
[[nodiscard]] bool IsSha256(std::string_view text);

}  // namespace ballast::base

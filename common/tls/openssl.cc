#include "common/tls/openssl.h"

#include <array>

#include <fmt/format.h>

#include "openssl/err.h"
#include "openssl/pem.h"
#include "openssl/rand.h"

namespace ballast::tls {

absl::Status OpenSslError(std::string_view what) {
  std::array<char, 256> text{};
  const unsigned long code = ERR_peek_last_error();  // NOLINT(google-runtime-int): OpenSSL's own type
  ERR_error_string_n(code, text.data(), text.size());
  ERR_clear_error();
  return absl::InternalError(fmt::format("{}: {}", what, code == 0 ? "OpenSSL gives no reason" : text.data()));
}

BioPtr ReadOnlyBio(std::string_view text) {
  return BioPtr(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

std::string TextOf(const BioPtr& bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &data);  // NOLINT(google-runtime-int): OpenSSL's own type
  return {data, static_cast<std::size_t>(size)};
}

absl::StatusOr<CertificatePtr> ParseCertificate(std::string_view pem) {
  const BioPtr bio = ReadOnlyBio(pem);
  CertificatePtr certificate(PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr));
  ERR_clear_error();
  if (certificate == nullptr) return absl::InvalidArgumentError("this is no certificate in PEM");
  return certificate;
}

absl::StatusOr<KeyPtr> ParseKey(std::string_view pem) {
  const BioPtr bio = ReadOnlyBio(pem);
  // Without a callback OpenSSL would ask the terminal for the password of a key that has one.
  const auto no_password = [](char*, int, int, void*) { return -1; };
  KeyPtr key(PEM_read_bio_PrivateKey(bio.get(), nullptr, no_password, nullptr));
  ERR_clear_error();
  if (key == nullptr) return absl::InvalidArgumentError("this is no private key in PEM, or one with a password");
  return key;
}

absl::StatusOr<std::string> CertificateToPem(X509* certificate) {
  const BioPtr bio(BIO_new(BIO_s_mem()));
  if (PEM_write_bio_X509(bio.get(), certificate) != 1) return OpenSslError("write a certificate");
  return TextOf(bio);
}

absl::StatusOr<std::string> RandomBytes(std::size_t count) {
  std::string bytes(count, '\0');
  if (RAND_bytes(reinterpret_cast<unsigned char*>(bytes.data()), static_cast<int>(count)) != 1) {
    return OpenSslError("random bytes");
  }
  return bytes;
}

}  // namespace ballast::tls

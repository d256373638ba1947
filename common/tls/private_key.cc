#include "common/tls/private_key.h"

#include "common/base/status.h"
#include "common/tls/openssl.h"
#include "openssl/ec.h"
#include "openssl/pem.h"

namespace ballast::tls {

absl::StatusOr<std::string> MakePrivateKey() {
  const KeyPtr key(EVP_EC_gen("P-256"));
  if (key == nullptr) return OpenSslError("make a private key");
  const BioPtr bio(BIO_new(BIO_s_mem()));
  if (PEM_write_bio_PKCS8PrivateKey(bio.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr) != 1) {
    return OpenSslError("write a private key");
  }
  return TextOf(bio);
}

absl::StatusOr<std::string> MakeCertificateRequest(const std::string& private_key_pem, const std::string& name) {
  BALLAST_ASSIGN_OR_RETURN(const KeyPtr key, ParseKey(private_key_pem));
  const RequestPtr request(X509_REQ_new());
  X509_NAME* const subject = X509_REQ_get_subject_name(request.get());
  const bool made = X509_REQ_set_version(request.get(), X509_REQ_VERSION_1) == 1 &&
                    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8,
                                               reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1, 0) == 1 &&
                    X509_REQ_set_pubkey(request.get(), key.get()) == 1 &&
                    X509_REQ_sign(request.get(), key.get(), EVP_sha256()) > 0;
  if (!made) return OpenSslError("make a request for a certificate");
  const BioPtr bio(BIO_new(BIO_s_mem()));
  if (PEM_write_bio_X509_REQ(bio.get(), request.get()) != 1) return OpenSslError("write a request for a certificate");
  return TextOf(bio);
}

}  // namespace ballast::tls

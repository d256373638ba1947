// OpenSSL's objects with an owner, and its errors as ours. Inside of this folder only.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "openssl/bio.h"
#include "openssl/evp.h"
#include "openssl/x509.h"
#include "openssl/x509v3.h"

namespace ballast::tls {

template <auto kFree>
struct Freer {
  template <typename T>
  void operator()(T* object) const {
    kFree(object);
  }
};
using KeyPtr = std::unique_ptr<EVP_PKEY, Freer<EVP_PKEY_free>>;
using KeyContextPtr = std::unique_ptr<EVP_PKEY_CTX, Freer<EVP_PKEY_CTX_free>>;
using CertificatePtr = std::unique_ptr<X509, Freer<X509_free>>;
using RequestPtr = std::unique_ptr<X509_REQ, Freer<X509_REQ_free>>;
using ExtensionPtr = std::unique_ptr<X509_EXTENSION, Freer<X509_EXTENSION_free>>;
using StorePtr = std::unique_ptr<X509_STORE, Freer<X509_STORE_free>>;
using StoreContextPtr = std::unique_ptr<X509_STORE_CTX, Freer<X509_STORE_CTX_free>>;
using NamesPtr = std::unique_ptr<GENERAL_NAMES, Freer<GENERAL_NAMES_free>>;
using BioPtr = std::unique_ptr<BIO, Freer<BIO_free_all>>;
using NumberPtr = std::unique_ptr<BIGNUM, Freer<BN_free>>;
using IntegerPtr = std::unique_ptr<ASN1_INTEGER, Freer<ASN1_INTEGER_free>>;

// INTERNAL: what OpenSSL says of its last failure on this thread, which is forgotten then.
[[nodiscard]] absl::Status OpenSslError(std::string_view what);

// A view of PEM text; the text must outlive it.
[[nodiscard]] BioPtr ReadOnlyBio(std::string_view text);
// What was written to a memory BIO.
[[nodiscard]] std::string TextOf(const BioPtr& bio);

// INVALID_ARGUMENT where the text holds none.
[[nodiscard]] absl::StatusOr<CertificatePtr> ParseCertificate(std::string_view pem);
[[nodiscard]] absl::StatusOr<KeyPtr> ParseKey(std::string_view pem);

// INTERNAL only.
[[nodiscard]] absl::StatusOr<std::string> CertificateToPem(X509* certificate);

// Bytes from the system's source of randomness.
[[nodiscard]] absl::StatusOr<std::string> RandomBytes(std::size_t count);

}  // namespace ballast::tls

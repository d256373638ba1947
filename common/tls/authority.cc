#include "common/tls/authority.h"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <utility>

#include <fmt/format.h>

#include "common/base/status.h"
#include "common/tls/openssl.h"
#include "common/tls/private_key.h"
#include "openssl/err.h"
#include "openssl/pem.h"

namespace ballast::tls {
namespace {

constexpr std::chrono::hours kAuthorityLifetime(20 * 365 * 24);
constexpr std::size_t kSerialBytes = kSerialDigits / 2;
constexpr int kMinSecurityBits = 112;  // RSA with 2048 bits; P-256 has 128

std::time_t Seconds(base::SystemTime time) {
  return std::chrono::floor<std::chrono::seconds>(time).time_since_epoch().count();
}

bool SetSerial(X509* certificate, std::string bytes) {
  bytes.front() = static_cast<char>((static_cast<unsigned char>(bytes.front()) & 0x7fU) | 0x40U);  // of one length
  const NumberPtr number(
      BN_bin2bn(reinterpret_cast<const unsigned char*>(bytes.data()), static_cast<int>(bytes.size()), nullptr));
  return BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(certificate)) != nullptr;
}

bool SetName(X509_NAME* subject, const std::string& name) {
  return X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, reinterpret_cast<const unsigned char*>(name.c_str()),
                                    -1, -1, 0) == 1;
}

bool AddExtension(X509* certificate, X509* issuer, int id, const char* value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  const ExtensionPtr extension(X509V3_EXT_conf_nid(nullptr, &context, id, value));
  return extension != nullptr && X509_add_ext(certificate, extension.get(), -1) == 1;
}

bool AddName(GENERAL_NAMES* names, int type, const std::string& text) {
  GENERAL_NAME* const name = GENERAL_NAME_new();
  ASN1_STRING* content = nullptr;
  std::string bytes = text;
  if (type == GEN_IPADD) {
    std::array<unsigned char, 16> address{};
    const std::size_t size = ::inet_pton(AF_INET, text.c_str(), address.data()) == 1 ? 4 : 16;
    if (size == 16 && ::inet_pton(AF_INET6, text.c_str(), address.data()) != 1) return false;
    bytes.assign(reinterpret_cast<const char*>(address.data()), size);
    content = ASN1_OCTET_STRING_new();
  } else {
    content = ASN1_IA5STRING_new();
  }
  const bool set = ASN1_STRING_set(content, bytes.data(), static_cast<int>(bytes.size())) == 1;
  GENERAL_NAME_set0_value(name, type, content);
  return set && sk_GENERAL_NAME_push(names, name) > 0;
}

int TypeOf(const std::string& name) {
  std::array<unsigned char, 16> address{};
  const bool is_address = ::inet_pton(AF_INET, name.c_str(), address.data()) == 1 ||
                          ::inet_pton(AF_INET6, name.c_str(), address.data()) == 1;
  return is_address ? GEN_IPADD : GEN_DNS;
}

// What a certificate is made of beside its names.
struct Form {
  std::string common_name;
  std::vector<std::pair<int, std::string>> names;  // GEN_… and text
  const char* basic_constraints;
  const char* key_usage;
  const char* extended_key_usage;  // null: none
  base::SystemTime not_before;
  base::SystemTime not_after;
};

// `issuer` is null where it signs itself.
absl::StatusOr<std::string> Issue(const Form& form, EVP_PKEY* key, X509* issuer, EVP_PKEY* issuer_key) {
  BALLAST_ASSIGN_OR_RETURN(std::string serial, RandomBytes(kSerialBytes));
  const CertificatePtr certificate(X509_new());
  X509* const raw = certificate.get();
  bool made = X509_set_version(raw, X509_VERSION_3) == 1 && SetSerial(raw, std::move(serial)) &&
              ASN1_TIME_set(X509_getm_notBefore(raw), Seconds(form.not_before)) != nullptr &&
              ASN1_TIME_set(X509_getm_notAfter(raw), Seconds(form.not_after)) != nullptr &&
              SetName(X509_get_subject_name(raw), form.common_name) &&
              X509_set_issuer_name(raw, X509_get_subject_name(issuer == nullptr ? raw : issuer)) == 1 &&
              X509_set_pubkey(raw, key) == 1;
  X509* const signer = issuer == nullptr ? raw : issuer;
  made = made && AddExtension(raw, signer, NID_basic_constraints, form.basic_constraints) &&
         AddExtension(raw, signer, NID_key_usage, form.key_usage) &&
         AddExtension(raw, signer, NID_subject_key_identifier, "hash");
  if (issuer != nullptr) made = made && AddExtension(raw, signer, NID_authority_key_identifier, "keyid:always");
  if (form.extended_key_usage != nullptr) {
    made = made && AddExtension(raw, signer, NID_ext_key_usage, form.extended_key_usage);
  }
  if (!form.names.empty()) {
    const NamesPtr names(GENERAL_NAMES_new());
    for (const auto& [type, text] : form.names) made = made && AddName(names.get(), type, text);
    made = made && X509_add1_ext_i2d(raw, NID_subject_alt_name, names.get(), 0, X509V3_ADD_DEFAULT) == 1;
  }
  if (!made || X509_sign(raw, issuer_key, EVP_sha256()) <= 0) return OpenSslError("issue a certificate");
  return CertificateToPem(raw);
}

// The key that a certificate is asked for.
absl::StatusOr<KeyPtr> KeyOfRequest(const std::string& request_pem) {
  const BioPtr bio = ReadOnlyBio(request_pem);
  const RequestPtr request(PEM_read_bio_X509_REQ(bio.get(), nullptr, nullptr, nullptr));
  ERR_clear_error();
  if (request == nullptr) return absl::InvalidArgumentError("this is no request for a certificate (PKCS #10 in PEM)");
  KeyPtr key(X509_REQ_get_pubkey(request.get()));
  const bool own = key != nullptr && X509_REQ_verify(request.get(), key.get()) == 1;
  ERR_clear_error();
  if (!own) return absl::InvalidArgumentError("the request for a certificate is not signed with the key that it names");
  if (EVP_PKEY_get_security_bits(key.get()) < kMinSecurityBits) {
    return absl::InvalidArgumentError(fmt::format(
        "the key in the request for a certificate is too weak ({} bits of security); at least {} are needed, "
        "as ECDSA on P-256 or RSA with 2048 bits have",
        EVP_PKEY_get_security_bits(key.get()), kMinSecurityBits));
  }
  return key;
}

absl::StatusOr<std::string> IssueFor(const CertificateAuthority& authority, const std::string& request_pem,
                                     const Form& form) {
  BALLAST_ASSIGN_OR_RETURN(const KeyPtr key, KeyOfRequest(request_pem));
  BALLAST_ASSIGN_OR_RETURN(const CertificatePtr issuer, ParseCertificate(authority.certificate_pem()));
  BALLAST_ASSIGN_OR_RETURN(const KeyPtr issuer_key, ParseKey(authority.key_pem()));
  return Issue(form, key.get(), issuer.get(), issuer_key.get());
}

}  // namespace

absl::StatusOr<CertificateAuthority> CertificateAuthority::Create(base::SystemTime now) {
  BALLAST_ASSIGN_OR_RETURN(std::string key_pem, MakePrivateKey());
  BALLAST_ASSIGN_OR_RETURN(const KeyPtr key, ParseKey(key_pem));
  BALLAST_ASSIGN_OR_RETURN(const std::string random, RandomBytes(4));
  std::string digits;
  for (const char byte : random) digits += fmt::format("{:02x}", static_cast<unsigned char>(byte));
  const Form form{.common_name = "Ballast certificate authority " + digits,
                  .names = {},
                  .basic_constraints = "critical,CA:TRUE,pathlen:0",
                  .key_usage = "critical,keyCertSign,cRLSign",
                  .extended_key_usage = nullptr,
                  .not_before = now - kClockTolerance,
                  .not_after = now + kAuthorityLifetime};
  BALLAST_ASSIGN_OR_RETURN(std::string certificate_pem, Issue(form, key.get(), nullptr, key.get()));
  return Load(std::move(certificate_pem), std::move(key_pem));
}

absl::StatusOr<CertificateAuthority> CertificateAuthority::Load(std::string certificate_pem, std::string key_pem) {
  BALLAST_ASSIGN_OR_RETURN(const CertificatePtr certificate, ParseCertificate(certificate_pem));
  BALLAST_ASSIGN_OR_RETURN(const KeyPtr key, ParseKey(key_pem));
  const bool together = X509_check_private_key(certificate.get(), key.get()) == 1;
  ERR_clear_error();
  if (!together) return absl::InvalidArgumentError("the certificate and the private key do not belong together");
  if (X509_check_ca(certificate.get()) != 1) return absl::InvalidArgumentError("it is no certificate of an authority");
  BALLAST_ASSIGN_OR_RETURN(CertificateFacts facts, ReadCertificate(certificate_pem));
  return CertificateAuthority(std::move(certificate_pem), std::move(key_pem), std::move(facts));
}

absl::StatusOr<std::string> CertificateAuthority::IssueClient(const std::string& request_pem, v1::Role role,
                                                              const std::string& name, base::SystemTime now,
                                                              std::chrono::nanoseconds lifetime) const {
  if (RoleText(role).empty()) return absl::InvalidArgumentError("a certificate needs a role");
  BALLAST_RETURN_IF_ERROR(CheckHolderName(role, name));
  const Form form{.common_name = name,
                  .names = {{GEN_URI, fmt::format("ballast://{}/{}", RoleText(role), name)}},
                  .basic_constraints = "critical,CA:FALSE",
                  .key_usage = "critical,digitalSignature",
                  .extended_key_usage = "clientAuth",
                  .not_before = now - std::min(kClockTolerance, lifetime / 2),
                  .not_after = std::min(now + lifetime, facts_.not_after)};
  return IssueFor(*this, request_pem, form);
}

absl::StatusOr<std::string> CertificateAuthority::IssueServer(const std::string& request_pem,
                                                              const std::vector<std::string>& names,
                                                              base::SystemTime now,
                                                              std::chrono::nanoseconds lifetime) const {
  Form form{.common_name = kServerName,
            .names = {{GEN_DNS, kServerName}},
            .basic_constraints = "critical,CA:FALSE",
            .key_usage = "critical,digitalSignature",
            .extended_key_usage = "serverAuth",
            .not_before = now - std::min(kClockTolerance, lifetime / 2),
            .not_after = std::min(now + lifetime, facts_.not_after)};
  for (const std::string& name : names) {
    if (name != kServerName) form.names.emplace_back(TypeOf(name), name);
  }
  return IssueFor(*this, request_pem, form);
}

}  // namespace ballast::tls

#include "common/tls/certificate.h"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <ctime>

#include <fmt/chrono.h>
#include <fmt/format.h>

#include "common/base/sha256.h"
#include "common/base/status.h"
#include "common/base/text.h"
#include "common/tls/authority.h"
#include "common/tls/openssl.h"
#include "openssl/err.h"
#include "openssl/pem.h"

namespace ballast::tls {
namespace {

constexpr std::string_view kScheme = "ballast://";
constexpr std::size_t kMaxNameBytes = 64;
constexpr std::size_t kMaxHostBytes = 253;
constexpr std::size_t kMaxHostLabelBytes = 63;

base::SystemTime TimeOf(const ASN1_TIME* time) {
  std::tm parts{};
  if (ASN1_TIME_to_tm(time, &parts) != 1) return {};
  return base::SystemTime(std::chrono::seconds(::timegm(&parts)));
}

std::string TimeText(base::SystemTime time) {
  return fmt::format("{:%Y-%m-%d %H:%M:%S} UTC", std::chrono::floor<std::chrono::seconds>(time));
}

std::string_view TextOfName(const ASN1_STRING* text) {
  return {reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)),
          static_cast<std::size_t>(ASN1_STRING_length(text))};
}

std::string AddressOf(const ASN1_OCTET_STRING* address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  const int family = ASN1_STRING_length(address) == 4 ? AF_INET : AF_INET6;
  if (family == AF_INET6 && ASN1_STRING_length(address) != 16) return {};
  if (::inet_ntop(family, ASN1_STRING_get0_data(address), text.data(), text.size()) == nullptr) return {};
  return text.data();
}

// `ballast://worker/NAME`.
void ReadHolder(std::string_view uri, CertificateFacts* facts) {
  if (!uri.starts_with(kScheme)) return;
  uri.remove_prefix(kScheme.size());
  const std::size_t slash = uri.find('/');
  if (slash == std::string_view::npos) return;
  const absl::StatusOr<v1::Role> role = ParseRole(uri.substr(0, slash));
  if (!role.ok() || !CheckHolderName(*role, uri.substr(slash + 1)).ok()) return;
  facts->role = *role;
  facts->name = uri.substr(slash + 1);
}

void ReadNames(X509* certificate, CertificateFacts* facts) {
  const NamesPtr names(
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)));
  for (int i = 0; names != nullptr && i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), i);
    if (name->type == GEN_URI) {
      ReadHolder(TextOfName(name->d.uniformResourceIdentifier), facts);
    } else if (name->type == GEN_DNS) {
      facts->server_names.emplace_back(TextOfName(name->d.dNSName));
    } else if (name->type == GEN_IPADD) {
      facts->server_names.push_back(AddressOf(name->d.iPAddress));
    }
  }
}

absl::StatusOr<std::string> FingerprintOf(X509* certificate) {
  unsigned char* der = nullptr;
  const int size = i2d_X509(certificate, &der);
  if (size < 0) return OpenSslError("write a certificate");
  base::Sha256 digest;
  digest.Update({reinterpret_cast<const char*>(der), static_cast<std::size_t>(size)});
  OPENSSL_free(der);
  return digest.Finish();
}

absl::Status Check(std::string_view pem, std::string_view authority_pem, int purpose) {
  BALLAST_ASSIGN_OR_RETURN(const CertificatePtr certificate, ParseCertificate(pem));
  BALLAST_ASSIGN_OR_RETURN(CertificatePtr authority, ParseCertificate(authority_pem));
  const StorePtr store(X509_STORE_new());
  const StoreContextPtr context(X509_STORE_CTX_new());
  if (X509_STORE_add_cert(store.get(), authority.get()) != 1 ||
      X509_STORE_CTX_init(context.get(), store.get(), certificate.get(), nullptr) != 1) {
    return OpenSslError("check a certificate");
  }
  X509_STORE_CTX_set_purpose(context.get(), purpose);
  X509_STORE_CTX_set_flags(context.get(), X509_V_FLAG_NO_CHECK_TIME | X509_V_FLAG_X509_STRICT);
  const int result = X509_verify_cert(context.get());
  ERR_clear_error();
  if (result == 1) return absl::OkStatus();
  const int error = X509_STORE_CTX_get_error(context.get());
  switch (error) {
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:
      return absl::UnauthenticatedError("another certificate authority issued it");
    case X509_V_ERR_INVALID_PURPOSE:
      return absl::UnauthenticatedError("it was issued for something else");
    default:
      return absl::UnauthenticatedError(X509_verify_cert_error_string(error));
  }
}

bool IsAlphanumeric(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool IsDigit(char c) {
  return c >= '0' && c <= '9';
}

bool IsLabelOfHost(std::string_view label) {
  return !label.empty() && label.size() <= kMaxHostLabelBytes && IsAlphanumeric(label.front()) &&
         IsAlphanumeric(label.back()) &&
         std::ranges::all_of(label, [](char c) { return IsAlphanumeric(c) || c == '-'; });
}

// RFC 1123. The last label is no number: what looks like an address is one, or is mistyped.
bool IsHostName(std::string_view name) {
  if (name.size() > kMaxHostBytes) return false;
  while (true) {
    const std::size_t dot = name.find('.');
    const std::string_view label = name.substr(0, dot);
    if (!IsLabelOfHost(label)) return false;
    if (dot == std::string_view::npos) return !std::ranges::all_of(label, IsDigit);
    name.remove_prefix(dot + 1);
  }
}

bool IsAddress(std::string_view name) {
  if (name.find('\0') != std::string_view::npos) return false;
  std::array<unsigned char, 16> address{};
  const std::string text(name);
  return ::inet_pton(AF_INET, text.c_str(), address.data()) == 1 ||
         ::inet_pton(AF_INET6, text.c_str(), address.data()) == 1;
}

}  // namespace

absl::StatusOr<CertificateFacts> ReadCertificate(std::string_view pem) {
  BALLAST_ASSIGN_OR_RETURN(const CertificatePtr certificate, ParseCertificate(pem));
  CertificateFacts facts;
  const NumberPtr serial(ASN1_INTEGER_to_BN(X509_get0_serialNumber(certificate.get()), nullptr));
  char* const digits = BN_bn2hex(serial.get());
  facts.serial = digits == nullptr ? "" : digits;
  OPENSSL_free(digits);
  std::ranges::transform(facts.serial, facts.serial.begin(),
                         [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  facts.not_before = TimeOf(X509_get0_notBefore(certificate.get()));
  facts.not_after = TimeOf(X509_get0_notAfter(certificate.get()));
  ReadNames(certificate.get(), &facts);
  BALLAST_ASSIGN_OR_RETURN(facts.fingerprint, FingerprintOf(certificate.get()));
  ERR_clear_error();
  return facts;
}

std::vector<std::string> SplitCertificates(std::string_view pem) {
  constexpr std::string_view kBegin = "-----BEGIN CERTIFICATE-----";
  constexpr std::string_view kEnd = "-----END CERTIFICATE-----";
  std::vector<std::string> found;
  while (true) {
    const std::size_t begin = pem.find(kBegin);
    if (begin == std::string_view::npos) return found;
    const std::size_t end = pem.find(kEnd, begin);
    if (end == std::string_view::npos) return found;
    found.push_back(std::string(pem.substr(begin, end + kEnd.size() - begin)) + "\n");
    pem.remove_prefix(end + kEnd.size());
  }
}

absl::Status CheckClientCertificate(std::string_view pem, std::string_view authority_pem) {
  if (const absl::Status status = Check(pem, authority_pem, X509_PURPOSE_SSL_CLIENT); !status.ok()) {
    if (!Check(pem, authority_pem, X509_PURPOSE_SSL_SERVER).ok()) return status;
    return absl::UnauthenticatedError("it is a coordinator's, not that of a worker, client or administrator");
  }
  BALLAST_ASSIGN_OR_RETURN(const CertificateFacts facts, ReadCertificate(pem));
  if (facts.role != v1::ROLE_UNSPECIFIED) return absl::OkStatus();
  return absl::UnauthenticatedError("it names no worker, client or administrator");
}

absl::Status CheckServerCertificate(std::string_view pem, std::string_view authority_pem) {
  const absl::Status status = Check(pem, authority_pem, X509_PURPOSE_SSL_SERVER);
  BALLAST_ASSIGN_OR_RETURN(const CertificateFacts facts, ReadCertificate(pem));
  if (!status.ok()) {
    // Nobody is named whose certificate it may not be.
    if (!CheckClientCertificate(pem, authority_pem).ok()) return status;
    return absl::UnauthenticatedError(
        fmt::format("it is that of {} {}, not a coordinator's", RoleText(facts.role), base::Quoted(facts.name)));
  }
  if (std::ranges::find(facts.server_names, kServerName) != facts.server_names.end()) return absl::OkStatus();
  return absl::UnauthenticatedError(fmt::format("it is not the certificate of a coordinator ({})", kServerName));
}

absl::Status CheckTime(const CertificateFacts& facts, base::SystemTime now) {
  if (now > facts.not_after) {
    return absl::UnauthenticatedError(
        fmt::format("it expired on {} (now is {})", TimeText(facts.not_after), TimeText(now)));
  }
  if (now < facts.not_before) {
    return absl::UnauthenticatedError(fmt::format("it is valid from {} on (now is {}: is the clock right?)",
                                                  TimeText(facts.not_before), TimeText(now)));
  }
  return absl::OkStatus();
}

base::SystemTime IssueTime(const CertificateFacts& facts) {
  // A third of the whole is half of what is left.
  const std::chrono::nanoseconds third = (facts.not_after - facts.not_before) / 3;
  return facts.not_before + std::min(kClockTolerance, third);
}

base::SystemTime RenewalTime(const CertificateFacts& facts) {
  return facts.not_after - (facts.not_after - facts.not_before) / 3;
}

std::string_view RoleText(v1::Role role) {
  switch (role) {
    case v1::WORKER:
      return "worker";
    case v1::CLIENT:
      return "client";
    case v1::ADMIN:
      return "admin";
    default:
      return {};
  }
}

absl::StatusOr<v1::Role> ParseRole(std::string_view text) {
  for (const v1::Role role : {v1::WORKER, v1::CLIENT, v1::ADMIN}) {
    if (text == RoleText(role)) return role;
  }
  return absl::InvalidArgumentError(
      fmt::format("{} is no role; there are worker, client and admin", base::Quoted(text)));
}

absl::Status CheckHolderName(v1::Role role, std::string_view name) {
  const bool worker = role == v1::WORKER;
  const auto allowed = [worker](unsigned char c) {
    if (c >= 0x80) return false;
    if (std::isalnum(c) != 0 || c == '.' || c == '_' || c == '-') return true;
    return !worker && (c == '+' || c == '@');
  };
  const auto is_hex_digit = [](unsigned char c) { return std::isxdigit(c) != 0; };
  if (name.size() == kSerialDigits && std::ranges::all_of(name, is_hex_digit)) {
    return absl::InvalidArgumentError(fmt::format(
        "{} cannot be the name in a certificate: it looks like the serial number of one", base::Quoted(name)));
  }
  if (!name.empty() && name.size() <= kMaxNameBytes && std::ranges::all_of(name, allowed)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      fmt::format("{} cannot be the name in a certificate of a {}: it has 1 to {} letters, digits and . _ -{}",
                  base::Quoted(name), RoleText(role), kMaxNameBytes, worker ? "" : " + @"));
}

absl::Status CheckServerName(std::string_view name) {
  if (IsAddress(name) || IsHostName(name)) return absl::OkStatus();
  const std::size_t colon = name.rfind(':');
  if (colon != std::string_view::npos) {
    std::string_view host = name.substr(0, colon);
    const std::string_view port = name.substr(colon + 1);
    if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
    if (!port.empty() && std::ranges::all_of(port, IsDigit) && (IsAddress(host) || IsHostName(host))) {
      return absl::InvalidArgumentError(
          fmt::format("{} is a name with a port: write {}, without the port", base::Quoted(name), base::Quoted(host)));
    }
  }
  return absl::InvalidArgumentError(fmt::format(
      "{} is neither an address nor the name of a host: letters, digits and dashes, with dots between parts "
      "of 1 to {} of them, {} at most in all; other alphabets as xn--…",
      base::Quoted(name), kMaxHostLabelBytes, kMaxHostBytes));
}

}  // namespace ballast::tls

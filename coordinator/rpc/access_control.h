// Who may make which call, where there are certificates: the one place that decides it, for every call.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "ballast/v1/security.pb.h"
#include "common/base/clock.h"
#include "common/tls/certificate.h"
#include "coordinator/rpc/caller.h"
#include "grpcpp/grpcpp.h"

namespace ballast::coordinator {

// A call that was refused before it came to its service.
struct Refusal {
  Caller caller;       // as far as the certificate holds; its peer is not known here
  std::string action;  // `SubmitJob`; one word for all that are no calls of this coordinator
  absl::Status status;
};

// Checks certificates against the authority, the clock and what was revoked. Calls that stay open are registered, so
// that they end with their certificate. Thread-safe; never blocks on a disk.
class AccessControl {
 public:
  // The clock must outlive it. `on_refusal` may be empty; it is called on gRPC's threads and must not block.
  AccessControl(std::string authority_pem, const base::Clock* clock,
                std::function<void(const Refusal&)> on_refusal = {});

  // Whether the holder of this certificate (PEM; empty: there is none) may make the call. UNAUTHENTICATED: there is no
  // certificate, or it does not hold: another authority's, expired, revoked. PERMISSION_DENIED: its role does not allow
  // it. UNIMPLEMENTED: the call is in no table. A certificate that does not hold is refused for every call, so that
  // services never see one.
  [[nodiscard]] absl::Status Check(std::string_view method, const std::string& certificate_pem);

  // UNAUTHENTICATED where the certificate of this holder was revoked, by its serial number or with its name.
  [[nodiscard]] absl::Status CheckRevoked(const Caller& holder) const;

  // From now on the certificate is refused, and its open calls end. It was stored as revoked before.
  void Revoke(const v1::Certificate& certificate);
  // The same for all that were issued to the name until then, by what they say themselves: to a second. The last one
  // for a role and a name counts.
  void RevokeName(const v1::NameRevocation& revocation);

  // Whether RevokeName was ever called for whoever has this name in such a role: a device, or a person in any role.
  [[nodiscard]] bool IsNameRevoked(v1::Role role, const std::string& name) const;

  // Whether another call is open with a certificate that this holder got later, by whole seconds: he renewed it.
  [[nodiscard]] bool HasLaterCall(const Caller& holder) const;

  // Ends the open calls whose certificate has expired.
  void EndExpired();

  // A call that stays open. Ends its registration when it is destroyed, which must not happen while a lock is held that
  // its `end` takes. Move-only.
  class OpenCall {
   public:
    OpenCall() = default;
    OpenCall(OpenCall&& other) noexcept : owner_(std::exchange(other.owner_, nullptr)), id_(other.id_) {}
    OpenCall& operator=(OpenCall&& other) noexcept;
    ~OpenCall();

   private:
    friend class AccessControl;
    OpenCall(AccessControl* owner, std::uint64_t id) : owner_(owner), id_(id) {}
    AccessControl* owner_ = nullptr;
    std::uint64_t id_ = 0;
  };
  // `end` is called, with the reason, when the certificate that the call came with is revoked or expires: on any
  // thread, perhaps more than once, perhaps once more just after the registration has ended. It must not block.
  [[nodiscard]] OpenCall Register(const grpc::ServerContextBase& context, std::function<void(const absl::Status&)> end);

  // What gRPC asks before each call.
  [[nodiscard]] std::shared_ptr<grpc::AuthMetadataProcessor> Processor();

 private:
  struct Open {
    tls::CertificateFacts facts;
    std::function<void(const absl::Status&)> end;
  };

  // What a certificate says, where its authority is the right one.
  [[nodiscard]] absl::StatusOr<tls::CertificateFacts> Verify(const std::string& certificate_pem);
  [[nodiscard]] absl::Status CheckFacts(const tls::CertificateFacts& facts) const;
  // Ends the open calls of those who were revoked.
  void EndRevoked();
  void Refuse(std::string_view method, const std::optional<tls::CertificateFacts>& facts, const absl::Status& status);

  const std::string authority_pem_;
  const base::Clock* const clock_;
  const std::function<void(const Refusal&)> on_refusal_;

  mutable std::mutex mutex_;
  // Certificates whose signatures were found to be the authority's: checking one takes a tenth of a millisecond.
  std::unordered_map<std::string, tls::CertificateFacts> verified_;
  std::unordered_map<std::string, v1::Certificate> revoked_;                      // by serial number
  std::map<std::pair<v1::Role, std::string>, v1::NameRevocation> revoked_names_;  // by role and name
  std::map<std::uint64_t, Open> open_;
  std::uint64_t next_id_ = 1;
};

}  // namespace ballast::coordinator

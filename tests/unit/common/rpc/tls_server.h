// A server that shows certificates, and does nothing else.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "ballast/v1/enrollment_service.grpc.pb.h"
#include "grpcpp/grpcpp.h"

namespace ballast::rpc {

// Listens on a port of this machine until it is destroyed. What it shows is not checked here.
class TlsServer {
 public:
  // `chain` is its own certificate and what it shows behind it, in PEM. Without a key it speaks plain text.
  TlsServer(const std::string& private_key, const std::string& chain) {
    std::shared_ptr<grpc::ServerCredentials> credentials = grpc::InsecureServerCredentials();
    if (!private_key.empty()) {
      grpc::SslServerCredentialsOptions options;
      options.pem_key_cert_pairs.push_back({private_key, chain});
      credentials = grpc::SslServerCredentials(options);
    }
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", credentials, &port_);
    builder.RegisterService(&service_);
    server_ = builder.BuildAndStart();
    EXPECT_TRUE(server_ != nullptr && port_ != 0);
  }
  TlsServer(const TlsServer&) = delete;
  TlsServer& operator=(const TlsServer&) = delete;

  [[nodiscard]] std::string address() const { return "127.0.0.1:" + std::to_string(port_); }

 private:
  v1::EnrollmentService::Service service_;
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace ballast::rpc

#include "tests/unit/coordinator/rpc/raw_call.h"

#include <chrono>
#include <vector>

#include "common/rpc/channel.h"
#include "grpcpp/generic/generic_stub.h"

namespace ballast::coordinator {
namespace {

// Waits for the one operation that is under way.
bool Await(grpc::CompletionQueue* queue) {
  void* tag = nullptr;
  bool ok = false;
  return queue->Next(&tag, &ok) && ok;
}

}  // namespace

absl::StatusOr<std::string> RawCall(const std::shared_ptr<grpc::Channel>& channel, const std::string& method,
                                    const std::string& request) {
  grpc::GenericStub stub(channel);
  const std::unique_ptr<grpc::ClientContext> context = rpc::MakeContext(std::chrono::seconds(10));
  grpc::CompletionQueue queue;
  const auto call = stub.PrepareCall(context.get(), method, &queue);
  call->StartCall(nullptr);
  std::string reply;
  if (Await(&queue)) {
    const grpc::Slice slice(request);
    call->WriteLast(grpc::ByteBuffer(&slice, 1), grpc::WriteOptions(), nullptr);
    grpc::ByteBuffer buffer;
    if (Await(&queue)) {
      call->Read(&buffer, nullptr);
      if (Await(&queue)) {
        std::vector<grpc::Slice> slices;
        (void)buffer.Dump(&slices);
        for (const grpc::Slice& part : slices) reply.append(reinterpret_cast<const char*>(part.begin()), part.size());
      }
    }
  }
  grpc::Status status;
  call->Finish(&status, nullptr);
  (void)Await(&queue);
  if (!status.ok()) return rpc::FromGrpc(status);
  return reply;
}

}  // namespace ballast::coordinator

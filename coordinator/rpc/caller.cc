#include "coordinator/rpc/caller.h"

namespace ballast::coordinator {

Caller CallerOf(const grpc::ServerContextBase& context) {
  Caller caller;
  caller.peer = context.peer();
  return caller;
}

}  // namespace ballast::coordinator

#include "coordinator/core/request_id.h"

#include <fmt/format.h>

#include "common/base/text.h"

namespace ballast::core {

absl::StatusOr<v1::Job> JobOfRequest(const v1::Job& known, const std::string& submitter) {
  if (known.submitter() == submitter) return known;
  return absl::AlreadyExistsError(fmt::format("request_id {} is that of job {}, which {} submitted; take another",
                                              base::Quoted(known.request_id()), known.job_id(),
                                              known.submitter().empty() ? "somebody else" : known.submitter()));
}

}  // namespace ballast::core

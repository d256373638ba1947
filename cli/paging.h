// Lists that come in pages.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>

#include <fmt/format.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "cli/context.h"
#include "cli/error_text.h"
#include "cli/session.h"
#include "common/base/status.h"

namespace ballast::cli {

inline constexpr std::uint32_t kDefaultLimit = 50;

// The value of --limit: a number of entries, 0 for all, the default where it was not given. INVALID_ARGUMENT otherwise.
[[nodiscard]] absl::StatusOr<std::uint32_t> ParseLimit(const std::string& text);

// Calls `method` page by page until there are `limit` entries (0: all of them) or no more, and gives them as one
// response. `entries` is its repeated field. Says on `context.err` when there are more.
template <typename Stub, typename Request, typename Response, typename Entries>
[[nodiscard]] absl::StatusOr<Response> ListPages(grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&,
                                                                              Response*),
                                                 Request request, Entries* (Response::*entries)(), std::uint32_t limit,
                                                 Session& session, Context& context) {
  constexpr std::uint32_t kLargestPage = 1000;
  Response all;
  while (true) {
    const auto have = static_cast<std::uint32_t>((all.*entries)()->size());
    request.set_page_size(static_cast<std::int32_t>(limit == 0 ? kLargestPage : std::min(limit - have, kLargestPage)));
    BALLAST_ASSIGN_OR_RETURN(Response page, session.Call(method, request));
    all.MergeFrom(page);
    all.set_next_page_token(page.next_page_token());
    if (page.next_page_token().empty()) return all;
    if (limit != 0 && static_cast<std::uint32_t>((all.*entries)()->size()) >= limit) {
      context.err << fmt::format("there are more than {}; --limit N shows N of them, --limit 0 all\n", limit);
      return all;
    }
    request.set_page_token(page.next_page_token());
  }
}

}  // namespace ballast::cli

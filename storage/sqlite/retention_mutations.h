// Mutations that thin and delete what is old.
#pragma once

#include <cstdint>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "storage/sqlite/connection.h"
#include "storage/store.h"

namespace ballast::storage {

// As the mutations with these names promise. Within the caller's transaction.
[[nodiscard]] absl::Status ApplyMutation(Connection* connection, const ThinChunks& thin);
[[nodiscard]] absl::Status ApplyMutation(Connection* connection, const MarkThinned& mark);
[[nodiscard]] absl::Status ApplyMutation(Connection* connection, const DeleteChunks& deletion);
[[nodiscard]] absl::Status ApplyMutation(Connection* connection, const DeleteRun& deletion);
[[nodiscard]] absl::Status ApplyMutation(Connection* connection, const DeleteJob& deletion);
[[nodiscard]] absl::Status ApplyMutation(Connection* connection, const ReleaseSpace& release);

// Whether a chunk with this position was taken and thinned.
[[nodiscard]] absl::StatusOr<bool> IsThinned(Connection* connection, std::string_view run_id, std::uint32_t attempt,
                                             std::int64_t seq);
// A chunk came: a run that was done with is looked at again.
[[nodiscard]] absl::Status NoteWholeSamples(Connection* connection, std::string_view run_id);

}  // namespace ballast::storage

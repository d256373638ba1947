// Thinning the samples of one run.
#pragma once

#include <chrono>
#include <functional>
#include <stop_token>

#include "absl/status/status.h"
#include "ballast/v1/run.pb.h"
#include "common/base/clock.h"
#include "storage/store.h"

namespace ballast::retention {

// Makes one step: writes a batch, waits until it is on disk, and leaves the store to others for a while. CANCELLED when
// nothing more is to be begun; codes of Store::Write.
using Step = std::function<absl::Status(storage::WriteBatch)>;

// Whether a device may still bring records of a run that has ended: the coordinator has given an attempt up, and the
// device, which is still among those of the store, has not told its end.
[[nodiscard]] absl::StatusOr<bool> MayBringRecords(storage::Store& store, const v1::Run& run);

// Thins the whole samples of a run that has ended to one summary every `summary_interval`, step by step: whenever it
// breaks off, what is done is done and the rest is as it was, and it goes on there the next time. Chunks that cannot be
// decoded stay as they are. `time` is noted as Run.samples_thinned_time with the first step. Codes of the store and of
// `step`.
[[nodiscard]] absl::Status ThinRun(storage::Store& store, const v1::Run& run, std::chrono::nanoseconds summary_interval,
                                   base::SystemTime time, const Step& step);

// Deletes the chunks of a run that has ended, step by step, and notes that its samples are not whole any more.
[[nodiscard]] absl::Status DeleteSamples(storage::Store& store, const v1::Run& run, base::SystemTime time,
                                         const Step& step);

}  // namespace ballast::retention

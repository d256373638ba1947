// The columns of lists.
#pragma once

#include <string>
#include <vector>

#include "ballast/v1/device.pb.h"
#include "ballast/v1/job.pb.h"
#include "ballast/v1/model.pb.h"
#include "ballast/v1/planning.pb.h"
#include "ballast/v1/run.pb.h"
#include "ballast/v1/security.pb.h"
#include "cli/render/records.h"

namespace ballast::cli {

[[nodiscard]] std::vector<Field<v1::Job>> JobFields();
[[nodiscard]] std::vector<Field<v1::Run>> RunFields();
[[nodiscard]] std::vector<Field<v1::Device>> DeviceFields();
[[nodiscard]] std::vector<Field<v1::Reservation>> ReservationFields();
[[nodiscard]] std::vector<Field<v1::Schedule>> ScheduleFields();
[[nodiscard]] std::vector<Field<v1::AuditEntry>> AuditFields();
[[nodiscard]] std::vector<Field<v1::ModelEntry>> ModelEntryFields();
[[nodiscard]] std::vector<Field<v1::Certificate>> CertificateFields();

// What holds up the most runs of a job, and how many other reasons there are: `3: device mini-2 is not connected (and 1
// more)`; `-` where nothing does.
[[nodiscard]] std::string WaitText(const v1::Job& job);

}  // namespace ballast::cli

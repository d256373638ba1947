// Values of messages as a person or a CSV file has them.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "ballast/v1/job.pb.h"
#include "ballast/v1/run.pb.h"
#include "google/protobuf/duration.pb.h"
#include "google/protobuf/map.h"
#include "google/protobuf/timestamp.pb.h"

namespace ballast::cli {

// `2025-03-01 14:05:09` in the machine's time zone; empty where the message has no such field.
[[nodiscard]] std::string LocalTime(bool present, const google::protobuf::Timestamp& time);

// RFC 3339 in UTC; empty where the message has no such field.
[[nodiscard]] std::string Rfc3339(bool present, const google::protobuf::Timestamp& time);

// Seconds as a plain number with at most three decimals.
[[nodiscard]] std::string Seconds(const google::protobuf::Duration& duration);

// For people: `1:05`, `8:00:00`: minutes and seconds, with hours where there are some.
[[nodiscard]] std::string Stopwatch(const google::protobuf::Duration& duration);

// `42.3 %`.
[[nodiscard]] std::string Percent(double value);

// `PSI some 20.0 %`: a stall that is held.
[[nodiscard]] std::string StallText(const v1::PsiTarget& target);

// The shortest decimal number that is exact to six significant digits: `12`, `0.25`, `1.5e+12`.
[[nodiscard]] std::string Number(double value);

// A figure by the unit that its name ends with: `1.5 GiB` for `…_bytes`, `1.5 GiB/s` for `…_bytes_per_second`, `2.5 s`
// for `…_seconds`, `42.3 %` for `…_percent`; a plain number otherwise.
[[nodiscard]] std::string FigureText(std::string_view name, double value);

// `a=1,b=2`, ordered by key.
[[nodiscard]] std::string KeyValues(const google::protobuf::Map<std::string, std::string>& values);

// `staircase`, `burst`, `model`, …: what a job does in one word.
[[nodiscard]] std::string WorkloadName(const v1::Workload& workload);

// `3 COMPLETED, 1 OOM_KILLED`.
template <typename Counts>
[[nodiscard]] std::string OutcomeCounts(const Counts& counts) {
  std::string text;
  for (const auto& count : counts) {
    if (!text.empty()) text += ", ";
    text += std::to_string(count.count()) + " " + v1::OutcomeKind_Name(count.outcome());
  }
  return text;
}

}  // namespace ballast::cli

#include "storage/sqlite/lists.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "common/base/status.h"
#include "storage/sqlite/columns.h"
#include "storage/sqlite/page_token.h"

namespace ballast::storage {
namespace {

using Value = std::variant<std::int64_t, std::string>;

// SQLite takes 32766 parameters in one statement; a request has no good reason for so many.
constexpr std::size_t kMaxConditionValues = 10'000;
// Each value of the driving condition costs a search of the index. Beyond so many, going through all runs is no slower.
constexpr std::size_t kMaxDrivingDevices = 256;
// Each label and each annotation adds a subquery to the statement, and SQLite bounds what one may be made of.
constexpr std::size_t kMaxPairs = 64;
// Beyond so much a page ends early: a page of the largest runs would not fit into a message on its way to a client.
constexpr std::size_t kMaxPageBytes = 8U << 20U;

void BindValue(Statement* statement, int index, const Value& value) {
  std::visit([&](const auto& content) { statement->Bind(index, content); }, value);
}

// Conditions of a WHERE clause, each with its values beside it.
class Conditions {
 public:
  void Add(std::string_view text, std::vector<Value> values = {}) {
    text_ += text_.empty() ? " WHERE " : " AND ";
    text_ += text;
    values_.insert(values_.end(), std::make_move_iterator(values.begin()), std::make_move_iterator(values.end()));
  }

  // That the column has one of the values; no condition where there are none.
  void AddAnyOf(std::string_view column, const std::vector<Value>& values) {
    if (values.empty()) return;
    std::string marks = "?";
    for (std::size_t i = 1; i < values.size(); ++i) marks += ", ?";
    Add(fmt::format("{} IN ({})", column, marks), values);
  }

  [[nodiscard]] const std::string& text() const { return text_; }
  [[nodiscard]] std::size_t size() const { return values_.size(); }

  // Binds all values and returns the index of the next parameter.
  int BindAll(Statement* statement) const {
    int index = 1;
    for (const Value& value : values_) BindValue(statement, index++, value);
    return index;
  }

 private:
  std::string text_;
  std::vector<Value> values_;
};

// The values of a repeated field, each once, in a fixed order.
template <typename Field>
std::vector<Value> ValuesOf(const Field& field) {
  std::set<Value> values;
  for (const auto& value : field) {
    if constexpr (std::is_convertible_v<decltype(value), std::string>) {
      values.insert(std::string(value));
    } else {
      values.insert(static_cast<std::int64_t>(value));
    }
  }
  return {values.begin(), values.end()};
}

// A way through a table that is ordered by time: an index whose first columns have fixed values, once for each entry of
// `driving`. The index is named in the statement: SQLite keeps no statistics here, and its guess without them would
// sort a million runs to show fifty.
struct Scan {
  std::string from;         // FROM clause
  std::string time_column;  // with id_column, what orders the scan
  std::string id_column;
  std::string driving_text = {};                   // condition on the driving columns; empty where there are none
  std::vector<std::vector<Value>> driving = {{}};  // its values, once for each search
};

// The keys of the first `limit` rows, latest first, after `after`. The searches of the driving values are merged here:
// each gives its latest rows in order, so that none is read further than the page needs.
absl::StatusOr<std::vector<PageKey>> FindKeys(Connection* connection, const Scan& scan, const Conditions& filter,
                                              const std::optional<PageKey>& after, std::size_t limit) {
  std::vector<PageKey> keys;
  const auto later_first = [](const PageKey& a, const PageKey& b) {
    return std::tie(a.time_ns, a.id) > std::tie(b.time_ns, b.id);
  };
  Conditions conditions = filter;
  if (after.has_value()) {
    conditions.Add(fmt::format("({}, {}) < (?, ?)", scan.time_column, scan.id_column), {after->time_ns, after->id});
  }
  if (!scan.driving_text.empty()) conditions.Add(scan.driving_text);
  BALLAST_ASSIGN_OR_RETURN(
      Statement statement,
      connection->Prepare(fmt::format("SELECT {0}, {1} FROM {2}{3} ORDER BY {0} DESC, {1} DESC LIMIT {4}",
                                      scan.time_column, scan.id_column, scan.from, conditions.text(), limit)));
  int next_parameter = conditions.BindAll(&statement);
  for (const std::vector<Value>& values : scan.driving) {
    for (std::size_t i = 0; i < values.size(); ++i) {
      BindValue(&statement, next_parameter + static_cast<int>(i), values[i]);
    }
    while (true) {
      BALLAST_ASSIGN_OR_RETURN(const bool has_row, statement.Step());
      if (!has_row) break;
      keys.push_back({.time_ns = statement.Int64(0), .id = std::string(statement.Text(1))});
    }
    statement.Reset();
    if (keys.size() > 2 * limit + 1000) {  // keeps thousands of searches from piling up rows that lie behind the page
      std::ranges::sort(keys, later_first);
      keys.resize(limit);
    }
  }
  std::ranges::sort(keys, later_first);
  if (keys.size() > limit) keys.resize(limit);
  return keys;
}

// Fills in the messages of a page whose keys were found with one more than it holds. Has at least one of them, however
// large it is, so that a client comes to the end.
template <typename Message, typename Response>
absl::Status FillPage(Connection* connection, std::string_view sql, std::string_view what, std::vector<PageKey> keys,
                      std::size_t page_size, std::uint32_t conditions,
                      google::protobuf::RepeatedPtrField<Message>* messages, Response* response) {
  BALLAST_ASSIGN_OR_RETURN(Statement statement, connection->Cached(sql));
  std::size_t bytes = 0;
  for (std::size_t i = 0; i < keys.size(); ++i) {
    const PageKey& key = keys[i];
    if (i == page_size) {
      response->set_next_page_token(EncodePageToken(conditions, keys[i - 1]));
      break;
    }
    statement.Bind(1, key.id);
    BALLAST_ASSIGN_OR_RETURN(const bool has_row, statement.Step());
    if (!has_row)
      return absl::DataLossError(
          fmt::format("database {}: it is damaged, {} {} is in an index only; restore a copy of the file",
                      connection->file(), what, key.id));
    bytes += statement.Blob(0).size();
    if (i > 0 && bytes > kMaxPageBytes) {
      response->set_next_page_token(EncodePageToken(conditions, keys[i - 1]));
      break;
    }
    BALLAST_ASSIGN_OR_RETURN(*messages->Add(),
                             ParseColumn<Message>(statement.Blob(0), fmt::format("{} {}", what, key.id)));
    statement.Reset();
  }
  return absl::OkStatus();
}

// The devices that have all the labels, ordered.
absl::StatusOr<std::vector<Value>> DevicesWithLabels(Connection* connection,
                                                     const google::protobuf::Map<std::string, std::string>& labels) {
  std::vector<Value> devices;
  bool is_first = true;
  for (const auto& [name, value] : labels) {
    BALLAST_ASSIGN_OR_RETURN(
        Statement statement,
        connection->Cached("SELECT device_id FROM device_labels WHERE name = ?1 AND value = ?2 ORDER BY device_id"));
    statement.Bind(1, name);
    statement.Bind(2, value);
    std::vector<Value> matching;
    while (true) {
      BALLAST_ASSIGN_OR_RETURN(const bool has_row, statement.Step());
      if (!has_row) break;
      matching.emplace_back(std::string(statement.Text(0)));
    }
    if (is_first) {
      devices = std::move(matching);
    } else {
      std::vector<Value> both;
      std::ranges::set_intersection(devices, matching, std::back_inserter(both));
      devices = std::move(both);
    }
    is_first = false;
  }
  return devices;
}

Scan ScanRunsBy(std::string_view index, std::string_view column, const std::vector<Value>& values) {
  Scan scan{.from = fmt::format("runs AS r INDEXED BY {}", index),
            .time_column = "r.create_time_ns",
            .id_column = "r.run_id",
            .driving_text = fmt::format("r.{} = ?", column),
            .driving = {}};
  for (const Value& value : values) scan.driving.push_back({value});
  return scan;
}

// What a filter asks for, in the types of the columns.
struct RunConditions {
  std::vector<Value> jobs;
  std::vector<Value> devices;  // those named
  bool has_labels = false;
  std::vector<Value> labelled;  // the devices that have the labels
  std::vector<Value> outcomes;
  std::vector<Value> states;
  std::vector<std::pair<std::string, std::string>> annotations;
  std::string workload_kind;
};

// The devices that are left when both kinds of condition hold; nothing where neither was given.
std::optional<std::vector<Value>> DevicesOf(const RunConditions& wanted) {
  if (!wanted.has_labels) {
    return wanted.devices.empty() ? std::nullopt : std::optional(wanted.devices);
  }
  if (wanted.devices.empty()) return wanted.labelled;
  std::vector<Value> both;
  std::ranges::set_intersection(wanted.devices, wanted.labelled, std::back_inserter(both));
  return both;
}

// Chooses the condition that leads to the fewest runs, by what is known of such data: a job has few runs, few runs are
// open, an annotation marks a campaign, a device has its share, and most runs end alike.
Scan ChooseScan(const RunConditions& wanted, const std::optional<std::vector<Value>>& devices) {
  if (!wanted.jobs.empty()) return ScanRunsBy("runs_by_job", "job_id", wanted.jobs);
  const bool only_open =
      !wanted.states.empty() && !std::ranges::count(wanted.states, Value(std::int64_t{v1::Run::ENDED}));
  if (only_open) return ScanRunsBy("runs_by_state", "state", wanted.states);
  if (!wanted.annotations.empty()) {
    // CROSS JOIN keeps SQLite from turning the two round.
    return {.from = "run_annotations AS a CROSS JOIN runs AS r ON r.run_id = a.run_id",
            .time_column = "a.create_time_ns",
            .id_column = "a.run_id",
            .driving_text = "a.name = ? AND a.value = ?",
            .driving = {{wanted.annotations[0].first, wanted.annotations[0].second}}};
  }
  if (devices.has_value() && devices->size() <= kMaxDrivingDevices) {
    return ScanRunsBy("runs_by_device", "device_id", *devices);
  }
  if (!wanted.outcomes.empty()) return ScanRunsBy("runs_by_outcome", "outcome", wanted.outcomes);
  if (!wanted.states.empty()) return ScanRunsBy("runs_by_state", "state", wanted.states);
  if (!wanted.workload_kind.empty()) return ScanRunsBy("runs_by_kind", "workload_kind", {wanted.workload_kind});
  return {.from = "runs AS r INDEXED BY runs_by_time", .time_column = "r.create_time_ns", .id_column = "r.run_id"};
}

// Everything that is asked for, the driving condition once more among it: that costs nothing and keeps one place for
// all.
Conditions FilterOf(const RunConditions& wanted, const v1::RunFilter& filter, const Scan& scan) {
  Conditions conditions;
  // A unary plus keeps SQLite from using an index for the condition.
  conditions.AddAnyOf("+r.job_id", wanted.jobs);
  conditions.AddAnyOf("+r.device_id", wanted.devices);
  for (const auto& [name, value] : filter.labels()) {
    conditions.Add("+r.device_id IN (SELECT l.device_id FROM device_labels AS l WHERE l.name = ? AND l.value = ?)",
                   {name, value});
  }
  conditions.AddAnyOf("+r.outcome", wanted.outcomes);
  conditions.AddAnyOf("+r.state", wanted.states);
  if (!wanted.workload_kind.empty()) conditions.Add("+r.workload_kind = ?", {wanted.workload_kind});
  for (const auto& [name, value] : wanted.annotations) {
    conditions.Add(
        "EXISTS (SELECT 1 FROM run_annotations AS x WHERE x.name = ? AND x.value = ? AND "
        "x.create_time_ns = r.create_time_ns AND x.run_id = r.run_id)",
        {name, value});
  }
  if (filter.has_created_from()) {
    conditions.Add(fmt::format("{} >= ?", scan.time_column), {ToColumn(filter.created_from())});
  }
  if (filter.has_created_before()) {
    conditions.Add(fmt::format("{} < ?", scan.time_column), {ToColumn(filter.created_before())});
  }
  return conditions;
}

absl::StatusOr<RunConditions> ReadFilter(Connection* connection, const v1::RunFilter& filter) {
  RunConditions wanted{.jobs = ValuesOf(filter.job_ids()),
                       .devices = ValuesOf(filter.device_ids()),
                       .has_labels = !filter.labels().empty(),
                       .labelled = {},
                       .outcomes = ValuesOf(filter.outcomes()),
                       .states = ValuesOf(filter.states()),
                       .annotations = {filter.annotations().begin(), filter.annotations().end()},
                       .workload_kind = filter.workload_kind()};
  const std::size_t value_count = wanted.jobs.size() + wanted.devices.size() + wanted.outcomes.size() +
                                  wanted.states.size() + wanted.annotations.size() +
                                  static_cast<std::size_t>(filter.labels().size());
  if (value_count > kMaxConditionValues) {
    return absl::InvalidArgumentError(
        fmt::format("filter: {} values in its conditions, at most {} are allowed", value_count, kMaxConditionValues));
  }
  const std::size_t pair_count = wanted.annotations.size() + static_cast<std::size_t>(filter.labels().size());
  if (pair_count > kMaxPairs) {
    return absl::InvalidArgumentError(
        fmt::format("filter: {} labels and annotations, at most {} are allowed", pair_count, kMaxPairs));
  }
  if (wanted.has_labels) {
    BALLAST_ASSIGN_OR_RETURN(wanted.labelled, DevicesWithLabels(connection, filter.labels()));
  }
  return wanted;
}

}  // namespace

absl::StatusOr<v1::ListJobsResponse> ListJobs(Connection* connection, const v1::ListJobsRequest& request) {
  BALLAST_ASSIGN_OR_RETURN(const std::size_t page_size, PageSize(request.page_size()));
  const std::uint32_t fingerprint = ConditionsOf(request);
  BALLAST_ASSIGN_OR_RETURN(const std::optional<PageKey> after, DecodePageToken(fingerprint, request.page_token()));
  BALLAST_ASSIGN_OR_RETURN(Transaction transaction, Transaction::Begin(connection, Transaction::Kind::kRead));

  Scan scan{.from = "jobs INDEXED BY jobs_by_time", .time_column = "create_time_ns", .id_column = "job_id"};
  if (!request.states().empty()) {
    scan.from = "jobs INDEXED BY jobs_by_state";
    scan.driving_text = "state = ?";
    scan.driving.clear();
    for (const Value& state : ValuesOf(request.states())) scan.driving.push_back({state});
  }
  BALLAST_ASSIGN_OR_RETURN(std::vector<PageKey> keys, FindKeys(connection, scan, {}, after, page_size + 1));
  v1::ListJobsResponse response;
  BALLAST_RETURN_IF_ERROR(FillPage(connection, "SELECT message FROM jobs WHERE job_id = ?1", "job", std::move(keys),
                                   page_size, fingerprint, response.mutable_jobs(), &response));
  BALLAST_RETURN_IF_ERROR(transaction.Commit());
  return response;
}

absl::StatusOr<v1::ListRunsResponse> ListRuns(Connection* connection, const v1::ListRunsRequest& request) {
  BALLAST_ASSIGN_OR_RETURN(const std::size_t page_size, PageSize(request.page_size()));
  const std::uint32_t fingerprint = ConditionsOf(request);
  BALLAST_ASSIGN_OR_RETURN(const std::optional<PageKey> after, DecodePageToken(fingerprint, request.page_token()));
  BALLAST_ASSIGN_OR_RETURN(Transaction transaction, Transaction::Begin(connection, Transaction::Kind::kRead));

  v1::ListRunsResponse response;
  BALLAST_ASSIGN_OR_RETURN(const RunConditions wanted, ReadFilter(connection, request.filter()));
  const std::optional<std::vector<Value>> devices = DevicesOf(wanted);
  if (devices.has_value() && devices->empty()) return response;
  const Scan scan = ChooseScan(wanted, devices);
  const Conditions filter = FilterOf(wanted, request.filter(), scan);
  BALLAST_ASSIGN_OR_RETURN(std::vector<PageKey> keys, FindKeys(connection, scan, filter, after, page_size + 1));
  BALLAST_RETURN_IF_ERROR(FillPage(connection, "SELECT message FROM runs WHERE run_id = ?1", "run", std::move(keys),
                                   page_size, fingerprint, response.mutable_runs(), &response));
  BALLAST_RETURN_IF_ERROR(transaction.Commit());
  return response;
}

absl::StatusOr<v1::ListDevicesResponse> ListDevices(Connection* connection, const v1::ListDevicesRequest& request) {
  BALLAST_ASSIGN_OR_RETURN(const std::size_t page_size, PageSize(request.page_size()));
  const std::uint32_t fingerprint = ConditionsOf(request);
  BALLAST_ASSIGN_OR_RETURN(const std::optional<PageKey> after, DecodePageToken(fingerprint, request.page_token()));
  if (static_cast<std::size_t>(request.labels().size()) > kMaxConditionValues) {
    return absl::InvalidArgumentError(
        fmt::format("{} labels, at most {} are allowed", request.labels().size(), kMaxConditionValues));
  }
  BALLAST_ASSIGN_OR_RETURN(Transaction transaction, Transaction::Begin(connection, Transaction::Kind::kRead));

  std::vector<PageKey> keys;
  if (request.labels().empty()) {
    BALLAST_ASSIGN_OR_RETURN(
        Statement statement,
        connection->Cached("SELECT device_id FROM devices WHERE device_id > ?1 ORDER BY device_id LIMIT ?2"));
    statement.Bind(1, after.has_value() ? after->id : std::string());
    statement.Bind(2, static_cast<std::int64_t>(page_size + 1));
    while (true) {
      BALLAST_ASSIGN_OR_RETURN(const bool has_row, statement.Step());
      if (!has_row) break;
      keys.push_back({.time_ns = 0, .id = std::string(statement.Text(0))});
    }
  } else {
    BALLAST_ASSIGN_OR_RETURN(const std::vector<Value> matching, DevicesWithLabels(connection, request.labels()));
    for (const Value& device : matching) {
      const std::string& id = std::get<std::string>(device);
      if (after.has_value() && id <= after->id) continue;
      keys.push_back({.time_ns = 0, .id = id});
      if (keys.size() > page_size) break;
    }
  }
  v1::ListDevicesResponse response;
  BALLAST_RETURN_IF_ERROR(FillPage(connection, "SELECT message FROM devices WHERE device_id = ?1", "device",
                                   std::move(keys), page_size, fingerprint, response.mutable_devices(), &response));
  BALLAST_RETURN_IF_ERROR(transaction.Commit());
  return response;
}

}  // namespace ballast::storage

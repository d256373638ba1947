// What every store promises of its lists.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

#include "tests/contract/stores.h"

namespace ballast::storage {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class StoreListContractTest : public StoreContractTest {
 protected:
  // The identifiers on all pages, and that no page but the last is short.
  std::vector<std::string> AllRuns(v1::RunFilter filter, int page_size = 0) {
    v1::ListRunsRequest request;
    request.set_page_size(page_size);
    *request.mutable_filter() = std::move(filter);
    std::vector<std::string> ids;
    do {
      const auto page = store().ListRuns(request);
      if (!page.ok()) {
        ADD_FAILURE() << page.status().ToString();
        break;
      }
      for (const v1::Run& run : page->runs()) ids.push_back(run.run_id());
      request.set_page_token(page->next_page_token());
      if (!request.page_token().empty()) {
        EXPECT_EQ(page->runs_size(), page_size == 0 ? 50 : page_size);
      }
    } while (!request.page_token().empty());
    return ids;
  }

  std::vector<std::string> AllJobs(const std::vector<v1::Job::State>& states, int page_size) {
    v1::ListJobsRequest request;
    request.set_page_size(page_size);
    for (const v1::Job::State state : states) request.add_states(state);
    std::vector<std::string> ids;
    do {
      const auto page = store().ListJobs(request);
      if (!page.ok()) {
        ADD_FAILURE() << page.status().ToString();
        break;
      }
      for (const v1::Job& job : page->jobs()) ids.push_back(job.job_id());
      request.set_page_token(page->next_page_token());
    } while (!request.page_token().empty());
    return ids;
  }

  std::vector<std::string> AllDevices(std::initializer_list<std::pair<std::string, std::string>> labels,
                                      int page_size) {
    v1::ListDevicesRequest request;
    request.set_page_size(page_size);
    for (const auto& [name, value] : labels) (*request.mutable_labels())[name] = value;
    std::vector<std::string> ids;
    do {
      const auto page = store().ListDevices(request);
      if (!page.ok()) {
        ADD_FAILURE() << page.status().ToString();
        break;
      }
      for (const v1::Device& device : page->devices()) ids.push_back(device.device_id());
      request.set_page_token(page->next_page_token());
    } while (!request.page_token().empty());
    return ids;
  }
};

INSTANTIATE_TEST_SUITE_P(Stores, StoreListContractTest, testing::ValuesIn(AllStoreKinds()),
                         [](const auto& kind) { return kind.param.name; });

TEST_P(StoreListContractTest, JobsComeLatestFirstPageByPage) {
  Put({PutJob{MakeJob("j-5", 300)}, PutJob{MakeJob("j-4", 400)}, PutJob{MakeJob("j-2", 300)},
       PutJob{MakeJob("j-3", 50, v1::Job::FINISHED)}});
  for (const int page_size : {1, 2, 4, 5, 100, 0, 5000}) {
    EXPECT_THAT(AllJobs({}, page_size), ElementsAre("j-4", "j-5", "j-2", "j-1", "j-3")) << page_size;
  }
}

TEST_P(StoreListContractTest, JobsByState) {
  Put({PutJob{MakeJob("j-2", 300, v1::Job::QUEUED)}, PutJob{MakeJob("j-3", 200, v1::Job::FINISHED)},
       PutJob{MakeJob("j-4", 250, v1::Job::CANCELLED)}});
  EXPECT_THAT(AllJobs({v1::Job::QUEUED, v1::Job::RUNNING}, 1), ElementsAre("j-2", "j-1"));
  EXPECT_THAT(AllJobs({v1::Job::RUNNING, v1::Job::QUEUED, v1::Job::RUNNING}, 10), ElementsAre("j-2", "j-1"));
  EXPECT_THAT(AllJobs({v1::Job::CANCELLED}, 10), ElementsAre("j-4"));
}

TEST_P(StoreListContractTest, DevicesComeInOrderOfTheirIdentifiers) {
  Put({PutDevice{MakeDevice("d-3", {{"class", "a"}, {"room", "1"}})}, PutDevice{MakeDevice("d-2", {{"class", "a"}})},
       PutDevice{MakeDevice("a", {{"class", "b"}})}, PutDevice{MakeDevice("d-10", {{"class", "a"}, {"room", "1"}})}});
  for (const int page_size : {1, 2, 0}) {
    EXPECT_THAT(AllDevices({}, page_size), ElementsAre("a", "d-1", "d-10", "d-2", "d-3"));
    EXPECT_THAT(AllDevices({{"class", "a"}}, page_size), ElementsAre("d-10", "d-2", "d-3"));
    EXPECT_THAT(AllDevices({{"class", "a"}, {"room", "1"}}, page_size), ElementsAre("d-10", "d-3"));
    EXPECT_THAT(AllDevices({{"class", "c"}}, page_size), IsEmpty());
  }
}

TEST_P(StoreListContractTest, LabelsThatAreGoneNoLongerMatch) {
  Put({PutDevice{MakeDevice("d-1", {{"class", "a"}})}});
  Put({PutDevice{MakeDevice("d-1", {{"class", "b"}})}});
  EXPECT_THAT(AllDevices({{"class", "a"}}, 0), IsEmpty());
  EXPECT_THAT(AllDevices({{"class", "b"}}, 0), ElementsAre("d-1"));
}

TEST_P(StoreListContractTest, APageHoldsFiftyAndAThousandAtMost) {
  WriteBatch batch;
  for (int i = 1; i <= 1100; ++i) batch.push_back(PutRun{MakeRun(fmt::format("j-1.{}", i), i)});
  Put(std::move(batch));
  v1::ListRunsRequest request;
  EXPECT_EQ(store().ListRuns(request)->runs_size(), 50);
  request.set_page_size(INT32_MAX);
  const auto page = store().ListRuns(request);
  EXPECT_EQ(page->runs_size(), 1000);
  EXPECT_EQ(page->runs(0).run_id(), "j-1.1100");
  request.set_page_token(page->next_page_token());
  EXPECT_EQ(store().ListRuns(request)->runs_size(), 100);
  EXPECT_EQ(store().ListRuns(request)->next_page_token(), "");
}

TEST_P(StoreListContractTest, APageEndsBeforeItGrowsTooLarge) {
  constexpr std::size_t kMebibyte = 1U << 20U;
  int number = 0;
  for (const std::size_t mebibytes : {1U, 12U, 3U, 3U, 3U}) {
    ++number;
    v1::Run run = MakeRun(fmt::format("j-1.{}", number), number);
    run.mutable_outcome()->set_message(std::string(mebibytes * kMebibyte, 'x'));
    Put({PutRun{run}});
  }
  v1::ListRunsRequest request;
  std::vector<std::string> pages;
  do {
    const auto page = store().ListRuns(request);
    ASSERT_TRUE(page.ok()) << page.status().ToString();
    std::string& ids = pages.emplace_back();
    for (const v1::Run& run : page->runs()) ids += run.run_id() + " ";
    request.set_page_token(page->next_page_token());
  } while (!request.page_token().empty());
  // The largest comes alone, as it has to come.
  EXPECT_THAT(pages, ElementsAre("j-1.5 j-1.4 ", "j-1.3 ", "j-1.2 ", "j-1.1 "));
}

TEST_P(StoreListContractTest, RunsThatComeBetweenPagesDisturbNothing) {
  Put({PutRun{MakeRun("j-1.1", 10)}, PutRun{MakeRun("j-1.2", 20)}, PutRun{MakeRun("j-1.3", 30)}});
  v1::ListRunsRequest request;
  request.set_page_size(2);
  const auto first = store().ListRuns(request);
  Put({PutRun{MakeRun("j-1.4", 40)}});
  request.set_page_token(first->next_page_token());
  const auto second = store().ListRuns(request);
  ASSERT_EQ(second->runs_size(), 1);
  EXPECT_EQ(second->runs(0).run_id(), "j-1.1");
}

TEST_P(StoreListContractTest, BadPagesAreRefused) {
  Put({PutRun{MakeRun("j-1.1", 10)}, PutRun{MakeRun("j-1.2", 20)}, PutJob{MakeJob("j-2")}});
  v1::ListRunsRequest runs;
  runs.set_page_size(1);
  const std::string token = store().ListRuns(runs)->next_page_token();
  ASSERT_FALSE(token.empty());

  std::string changed = token;
  changed[5] = changed[5] == 'A' ? 'B' : 'A';
  for (const std::string& bad :
       {std::string("?"), std::string("x"), std::string("AAAA"), changed, token + "AAAA",
        token.substr(0, token.size() - 4), std::string(10'000, 'A'), std::string("\xff\x00", 2)}) {
    runs.set_page_token(bad);
    EXPECT_EQ(store().ListRuns(runs).status().code(), absl::StatusCode::kInvalidArgument) << bad;
  }
  runs.set_page_token(token);
  EXPECT_TRUE(store().ListRuns(runs).ok());
  runs.mutable_filter()->set_workload_kind("model");
  EXPECT_EQ(store().ListRuns(runs).status().code(), absl::StatusCode::kInvalidArgument);
  v1::ListJobsRequest jobs;
  jobs.set_page_token(token);
  EXPECT_EQ(store().ListJobs(jobs).status().code(), absl::StatusCode::kInvalidArgument);
  v1::ListDevicesRequest devices;
  devices.set_page_token(token);
  EXPECT_EQ(store().ListDevices(devices).status().code(), absl::StatusCode::kInvalidArgument);

  runs.clear_page_token();
  runs.set_page_size(-1);
  jobs.clear_page_token();
  jobs.set_page_size(-1);
  devices.clear_page_token();
  devices.set_page_size(-1);
  EXPECT_EQ(store().ListRuns(runs).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(store().ListJobs(jobs).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(store().ListDevices(devices).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_P(StoreListContractTest, AnEndlessFilterIsRefused) {
  v1::ListRunsRequest request;
  for (int i = 0; i < 50'000; ++i) request.mutable_filter()->add_job_ids(fmt::format("j-{}", i));
  EXPECT_EQ(store().ListRuns(request).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_P(StoreListContractTest, LabelsAndAnnotationsAreBounded) {
  constexpr int kMost = 64;
  v1::Device device = MakeDevice("d-1");
  v1::Run run = MakeRun("j-1.1");
  for (int i = 0; i <= kMost; ++i) {
    (*device.mutable_labels())[fmt::format("label{}", i)] = "x";
    (*run.mutable_annotations())[fmt::format("annotation{}", i)] = "x";
  }
  Put({PutDevice{device}, PutRun{run}});
  for (const int label_count : {0, 1, kMost / 2, kMost}) {
    v1::ListRunsRequest request;
    for (int i = 0; i < label_count; ++i)
      (*request.mutable_filter()->mutable_labels())[fmt::format("label{}", i)] = "x";
    for (int i = label_count; i < kMost; ++i) {
      (*request.mutable_filter()->mutable_annotations())[fmt::format("annotation{}", i)] = "x";
    }
    const auto page = store().ListRuns(request);
    ASSERT_TRUE(page.ok()) << page.status().ToString();
    EXPECT_EQ(page->runs_size(), 1);
    (*request.mutable_filter()->mutable_annotations())[fmt::format("annotation{}", kMost)] = "x";
    EXPECT_EQ(store().ListRuns(request).status().code(), absl::StatusCode::kInvalidArgument);
  }
}

TEST_P(StoreListContractTest, TimesOutsideTheCalendarAreCutToIt) {
  Put({PutRun{MakeRun("j-1.1", 10)}});
  v1::RunFilter filter;
  filter.mutable_created_from()->set_seconds(INT64_MIN);
  filter.mutable_created_before()->set_seconds(INT64_MAX);
  EXPECT_THAT(AllRuns(filter), ElementsAre("j-1.1"));
  filter.mutable_created_from()->set_seconds(INT64_MAX);
  EXPECT_THAT(AllRuns(filter), IsEmpty());
}

TEST_P(StoreListContractTest, AnnotationsThatAreGoneNoLongerMatch) {
  v1::Run run = MakeRun("j-1.1");
  (*run.mutable_annotations())["build"] = "1";
  Put({PutRun{run}});
  (*run.mutable_annotations())["build"] = "2";
  Put({PutRun{run}});
  v1::RunFilter filter;
  (*filter.mutable_annotations())["build"] = "1";
  EXPECT_THAT(AllRuns(filter), IsEmpty());
  (*filter.mutable_annotations())["build"] = "2";
  EXPECT_THAT(AllRuns(filter), ElementsAre("j-1.1"));
}

TEST_P(StoreListContractTest, TextInConditionsIsOnlyText) {
  v1::Run run = MakeRun("j-1.1");
  const std::string text = "x'; DROP TABLE runs; -- \"%_";
  (*run.mutable_annotations())[text] = text;
  run.set_workload_kind(text);
  Put({PutRun{run}, PutDevice{MakeDevice("d-1", {{text, text}})}});
  v1::RunFilter filter;
  (*filter.mutable_annotations())[text] = text;
  (*filter.mutable_labels())[text] = text;
  filter.set_workload_kind(text);
  EXPECT_THAT(AllRuns(filter), ElementsAre("j-1.1"));
  filter.add_job_ids(text);
  EXPECT_THAT(AllRuns(filter), IsEmpty());
}

// The filter, written out once more as plainly as can be.
bool Matches(const v1::RunFilter& filter, const v1::Run& run, const std::vector<v1::Device>& devices) {
  const auto has = [](const auto& values, const auto& value) {
    return values.empty() || std::find(values.begin(), values.end(), value) != values.end();
  };
  for (const auto& [name, value] : filter.annotations()) {
    const auto found = run.annotations().find(name);
    if (found == run.annotations().end() || found->second != value) return false;
  }
  if (!filter.labels().empty()) {
    const auto device = std::ranges::find(devices, run.device_id(), &v1::Device::device_id);
    if (device == devices.end()) return false;
    for (const auto& [name, value] : filter.labels()) {
      const auto found = device->labels().find(name);
      if (found == device->labels().end() || found->second != value) return false;
    }
  }
  const std::int64_t time = run.create_time().seconds();
  return has(filter.job_ids(), run.job_id()) && has(filter.device_ids(), run.device_id()) &&
         has(filter.outcomes(), static_cast<int>(run.outcome().kind())) &&
         has(filter.states(), static_cast<int>(run.state())) &&
         (filter.workload_kind().empty() || filter.workload_kind() == run.workload_kind()) &&
         (!filter.has_created_from() || time >= filter.created_from().seconds()) &&
         (!filter.has_created_before() || time < filter.created_before().seconds());
}

TEST_P(StoreListContractTest, EveryCombinationOfConditionsFindsWhatMatches) {
  std::mt19937 random(5);
  const auto pick = [&random](int count) { return std::uniform_int_distribution(0, count - 1)(random); };
  const std::vector<v1::Device> devices = {MakeDevice("d-1", {{"class", "a"}, {"room", "1"}}),
                                           MakeDevice("d-2", {{"class", "a"}}),
                                           MakeDevice("d-3", {{"class", "b"}, {"room", "1"}})};
  WriteBatch batch;
  for (const v1::Device& device : devices) batch.push_back(PutDevice{device});
  for (int i = 1; i <= 5; ++i) batch.push_back(PutJob{MakeJob(fmt::format("j-{}", i))});
  std::vector<v1::Run> runs;
  for (int i = 1; i <= 200; ++i) {
    v1::Run run =
        MakeRun(fmt::format("j-{}.{}", 1 + pick(5), i), 100 + pick(40), static_cast<v1::Run::State>(1 + pick(4)));
    run.set_device_id(fmt::format("d-{}", 1 + pick(3)));
    if (run.state() == v1::Run::ENDED) run.mutable_outcome()->set_kind(static_cast<v1::OutcomeKind>(1 + pick(3)));
    run.set_workload_kind(pick(2) == 0 ? "model" : "pressure");
    if (pick(2) == 0) (*run.mutable_annotations())["build"] = fmt::format("{}", pick(3));
    if (pick(2) == 0) (*run.mutable_annotations())["commit"] = fmt::format("{}", pick(2));
    batch.push_back(PutRun{run});
    runs.push_back(run);
  }
  Put(std::move(batch));
  std::ranges::sort(runs, [](const v1::Run& a, const v1::Run& b) {
    return std::pair(a.create_time().seconds(), a.run_id()) > std::pair(b.create_time().seconds(), b.run_id());
  });

  for (int round = 0; round < 400; ++round) {
    v1::RunFilter filter;
    for (int n = pick(3); pick(4) == 0 && n > 0; --n) filter.add_job_ids(fmt::format("j-{}", 1 + pick(6)));
    for (int n = pick(3); pick(3) == 0 && n > 0; --n) filter.add_device_ids(fmt::format("d-{}", 1 + pick(4)));
    for (int n = pick(4); pick(3) == 0 && n > 0; --n) {
      filter.add_outcomes(static_cast<v1::OutcomeKind>(pick(4)));
    }
    for (int n = pick(4); pick(3) == 0 && n > 0; --n) filter.add_states(static_cast<v1::Run::State>(pick(5)));
    if (pick(4) == 0) (*filter.mutable_labels())["class"] = pick(2) == 0 ? "a" : "b";
    if (pick(4) == 0) (*filter.mutable_labels())["room"] = "1";
    if (pick(4) == 0) (*filter.mutable_annotations())["build"] = fmt::format("{}", pick(3));
    if (pick(4) == 0) (*filter.mutable_annotations())["commit"] = fmt::format("{}", pick(2));
    if (pick(4) == 0) filter.mutable_created_from()->set_seconds(100 + pick(20));
    if (pick(4) == 0) filter.mutable_created_before()->set_seconds(120 + pick(20));
    if (pick(4) == 0) filter.set_workload_kind("model");

    std::vector<std::string> expected;
    for (const v1::Run& run : runs) {
      if (Matches(filter, run, devices)) expected.push_back(run.run_id());
    }
    EXPECT_EQ(AllRuns(filter, pick(3) * 7), expected) << filter.ShortDebugString();
  }
}

TEST_P(StoreListContractTest, ManyDevicesWithALabelAreFiltered) {
  WriteBatch batch;
  for (int i = 0; i < 400; ++i) {
    const std::string device = fmt::format("d-m{}", i);
    batch.push_back(PutDevice{MakeDevice(device, {{"half", i % 2 == 0 ? "even" : "odd"}, {"all", "yes"}})});
    v1::Run run = MakeRun(fmt::format("j-1.{}", 1000 + i), i);
    run.set_device_id(device);
    batch.push_back(PutRun{run});
  }
  batch.push_back(PutRun{MakeRun("j-1.1", 5000)});
  Put(std::move(batch));
  v1::RunFilter filter;
  (*filter.mutable_labels())["all"] = "yes";  // more devices than are searched one by one
  EXPECT_EQ(AllRuns(filter).size(), 400U);
  EXPECT_EQ(AllRuns(filter).front(), "j-1.1399");
  (*filter.mutable_labels())["half"] = "odd";
  EXPECT_EQ(AllRuns(filter, 30).size(), 200U);
}

AppendAudit MakeEntry(const std::string& name, const std::string& action, std::int64_t time = 100) {
  AppendAudit append;
  append.entry.set_entry_id(77);
  append.entry.mutable_time()->set_seconds(time);
  append.entry.set_name(name);
  append.entry.set_action(action);
  return append;
}

TEST_P(StoreListContractTest, TheAuditLogComesLatestFirstPageByPage) {
  for (const char* const action : {"a", "b", "c", "d"}) Put({MakeEntry("kim", action), MakeEntry("", action)});
  const auto actions = [this](const std::string& name, int page_size) {
    v1::ListAuditEntriesRequest request;
    request.set_name(name);
    request.set_page_size(page_size);
    std::vector<std::string> found;
    std::uint64_t last = UINT64_MAX;
    do {
      const auto page = store().ListAuditEntries(request);
      if (!page.ok()) {
        ADD_FAILURE() << page.status().ToString();
        break;
      }
      for (const v1::AuditEntry& entry : page->entries()) {
        EXPECT_LT(entry.entry_id(), last);
        last = entry.entry_id();
        found.push_back(entry.action());
      }
      request.set_page_token(page->next_page_token());
    } while (!request.page_token().empty());
    return found;
  };
  for (const int page_size : {1, 2, 3, 4, 0}) {
    EXPECT_THAT(actions("kim", page_size), ElementsAre("d", "c", "b", "a")) << page_size;
    EXPECT_THAT(actions("", page_size), ElementsAre("d", "d", "c", "c", "b", "b", "a", "a")) << page_size;
  }
  EXPECT_THAT(actions("nobody", 0), IsEmpty());

  v1::ListAuditEntriesRequest request;
  request.set_page_size(1);
  request.set_page_token(store().ListAuditEntries(request)->next_page_token());
  request.set_name("kim");
  EXPECT_EQ(store().ListAuditEntries(request).status().code(), absl::StatusCode::kInvalidArgument);
  request.set_page_size(-1);
  EXPECT_EQ(store().ListAuditEntries(request).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_P(StoreListContractTest, OldEntriesOfTheAuditLogAreRemovedFromTheFirstOn) {
  Put({MakeEntry("kim", "a", 100), MakeEntry("kim", "b", 200), MakeEntry("kim", "late", 50),
       MakeEntry("kim", "c", 300)});
  const auto remove = [this](std::int64_t before) {
    DeleteAuditBefore deletion;
    deletion.time.set_seconds(before);
    Put({deletion});
    std::vector<std::string> left;
    const auto page = store().ListAuditEntries({});
    for (const v1::AuditEntry& entry : page->entries()) left.push_back(entry.action());
    return left;
  };
  EXPECT_THAT(remove(100), ElementsAre("c", "late", "b", "a"));
  EXPECT_THAT(remove(150), ElementsAre("c", "late", "b"));
  EXPECT_THAT(remove(1000), IsEmpty());
  Reopen();
  Put({MakeEntry("kim", "next")});
  EXPECT_EQ(store().ListAuditEntries({})->entries(0).entry_id(), 5U) << "no number is given twice";
}

}  // namespace
}  // namespace ballast::storage

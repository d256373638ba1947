#include "tests/contract/stores.h"

#include <cstdlib>

#include "common/metrics/chunk_codec.h"
#include "storage/sqlite/sqlite_store.h"

namespace ballast::storage {

std::vector<StoreKind> AllStoreKinds() {
  return {{.name = "Sqlite",
           .open = [](const std::filesystem::path& directory) { return OpenSqliteStore(directory / "ballast.db"); }}};
}

StoreContractTest::StoreContractTest() {
  std::string name = std::filesystem::path(testing::TempDir()) / "ballast-store-XXXXXX";
  directory_ = ::mkdtemp(name.data());
}

StoreContractTest::~StoreContractTest() {
  store_.reset();
  std::filesystem::remove_all(directory_);
}

void StoreContractTest::SetUp() {
  Reopen();
  Put({PutJob{MakeJob("j-1")}, PutDevice{MakeDevice("d-1")}});
}

void StoreContractTest::Reopen() {
  store_.reset();
  auto opened = GetParam().open(directory_);
  ASSERT_TRUE(opened.ok()) << opened.status().ToString();
  store_ = std::move(opened).value();
}

void StoreContractTest::Put(WriteBatch batch) {
  const absl::Status status = store_->WriteAndWait(std::move(batch));
  ASSERT_TRUE(status.ok()) << status.ToString();
}

v1::Job MakeJob(const std::string& job_id, std::int64_t time, v1::Job::State state) {
  v1::Job job;
  job.set_job_id(job_id);
  job.mutable_create_time()->set_seconds(time);
  job.set_state(state);
  return job;
}

v1::Run MakeRun(const std::string& run_id, std::int64_t time, v1::Run::State state) {
  v1::Run run;
  run.set_run_id(run_id);
  run.set_job_id(run_id.substr(0, run_id.find('.')));
  run.set_device_id("d-1");
  run.mutable_create_time()->set_seconds(time);
  run.set_state(state);
  return run;
}

v1::Device MakeDevice(const std::string& device_id, std::initializer_list<std::pair<std::string, std::string>> labels) {
  v1::Device device;
  device.set_device_id(device_id);
  for (const auto& [name, value] : labels) (*device.mutable_labels())[name] = value;
  return device;
}

PutChunk MakeChunk(const std::string& run_id, std::uint32_t attempt, std::uint64_t seq,
                   std::initializer_list<std::int64_t> values) {
  metrics::ChunkBuilder builder;
  for (const std::int64_t value : values) {
    metrics::SampleRow row = metrics::EmptyRow();
    row[0] = value;
    builder.AddSample(std::chrono::milliseconds(seq), row);
  }
  return {.run_id = run_id, .attempt = attempt, .seq = seq, .chunk = builder.Finish()};
}

}  // namespace ballast::storage

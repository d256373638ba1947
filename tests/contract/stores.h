// Every kind of store there is, for tests of what all of them promise.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <functional>
#include <initializer_list>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "storage/store.h"

namespace ballast::storage {

// A kind of store. `open` opens the one that is kept in a directory, which outlives it.
struct StoreKind {
  std::string name;
  std::function<absl::StatusOr<std::unique_ptr<Store>>(const std::filesystem::path& directory)> open;
};

[[nodiscard]] std::vector<StoreKind> AllStoreKinds();

// A store of each kind in a directory of its own, with one job `j-1` and one device `d-1` in it.
class StoreContractTest : public testing::TestWithParam<StoreKind> {
 protected:
  StoreContractTest();
  ~StoreContractTest() override;
  void SetUp() override;

  // Closes the store and opens it again.
  void Reopen();
  void Put(WriteBatch batch);
  [[nodiscard]] Store& store() { return *store_; }

 private:
  std::filesystem::path directory_;
  std::unique_ptr<Store> store_;
};

// What the tests put in. Times are seconds since 1970.
[[nodiscard]] v1::Job MakeJob(const std::string& job_id, std::int64_t time = 100,
                              v1::Job::State state = v1::Job::RUNNING);
[[nodiscard]] v1::Run MakeRun(const std::string& run_id, std::int64_t time = 100,
                              v1::Run::State state = v1::Run::QUEUED);
[[nodiscard]] v1::Device MakeDevice(const std::string& device_id,
                                    std::initializer_list<std::pair<std::string, std::string>> labels = {});
// A chunk whose only metric, 1, has these values.
[[nodiscard]] PutChunk MakeChunk(const std::string& run_id, std::uint32_t attempt, std::uint64_t seq,
                                 std::initializer_list<std::int64_t> values = {1});

}  // namespace ballast::storage

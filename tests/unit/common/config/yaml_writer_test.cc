#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ballast/v1/client_service.pb.h"
#include "ballast/v1/config.pb.h"
#include "ballast/v1/device.pb.h"
#include "ballast/v1/job.pb.h"
#include "ballast/v1/record.pb.h"
#include "common/config/field_rules.h"
#include "common/config/yaml.h"
#include "google/protobuf/util/message_differencer.h"

namespace ballast::config {
namespace {

using google::protobuf::util::MessageDifferencer;

template <typename Message>
void ExpectRoundTrip(const Message& message) {
  const std::string text = WriteYaml(message);
  Message back;
  const absl::Status status = ReadYaml(text, "written", &back);
  ASSERT_TRUE(status.ok()) << status << "\n" << text;
  Message with_defaults = message;
  ApplyDefaults(&with_defaults);
  EXPECT_TRUE(MessageDifferencer::Equals(back, with_defaults)) << text;
}

TEST(YamlWriterTest, WritesAsPeopleWould) {
  v1::JobSpec spec;
  spec.set_display_name("night: run");
  auto* const pressure = spec.mutable_workload()->mutable_pressure();
  pressure->mutable_staircase()->set_step_size_bytes(100U << 20U);
  pressure->mutable_staircase()->mutable_interval()->set_nanos(250'000'000);
  pressure->set_floor_percent(7.5);
  spec.mutable_devices()->add_device_ids("d-1");
  spec.mutable_devices()->add_device_ids("1");
  spec.set_priority(-2);
  spec.mutable_policy()->set_expect(v1::OOM_KILLED);
  (*spec.mutable_annotations())["build"] = "1843";
  (*spec.mutable_annotations())["branch"] = "main";
  (*spec.mutable_annotations())["分支"] = "主";
  EXPECT_EQ(WriteYaml(spec), R"(display_name: "night: run"
workload:
  pressure:
    staircase:
      step_size_bytes: 100MiB
      interval: 250ms
    floor_percent: 7.5%
devices:
  device_ids:
    - d-1
    - "1"
priority: -2
policy:
  expect: OOM_KILLED
annotations:
  branch: main
  build: "1843"
  "分支": "主"
)");
  ExpectRoundTrip(spec);
}

TEST(YamlWriterTest, EmptyMessages) {
  EXPECT_EQ(WriteYaml(v1::JobSpec()), "{}\n");
  v1::JobSpec spec;
  spec.mutable_workload()->mutable_pressure()->mutable_allocate_full();
  ExpectRoundTrip(spec);
}

TEST(YamlWriterTest, StringsThatYamlWouldTakeForSomethingElse) {
  std::vector<std::string> texts = {"",
                                    " ",
                                    "~",
                                    "null",
                                    "Null",
                                    "true",
                                    "No",
                                    "y",
                                    "1",
                                    "-",
                                    "- a",
                                    "a: b",
                                    "a #b",
                                    "#",
                                    "&a",
                                    "*a",
                                    "!a",
                                    "%a",
                                    "@a",
                                    "`",
                                    "'",
                                    "\"",
                                    "\\",
                                    "a\nb",
                                    "\n",
                                    "a\n",
                                    "\t",
                                    "\r\n",
                                    "[a]",
                                    "{a: b}",
                                    "|",
                                    ">",
                                    "? a",
                                    "---",
                                    "...",
                                    "<<",
                                    "=",
                                    "0x1f",
                                    "1e5",
                                    ".nan",
                                    "2025-01-01",
                                    "a,b",
                                    "\x01\x7f",
                                    "\xc2\x85",
                                    "\xe2\x80\xa8",
                                    "\xef\xbb\xbf",
                                    "😀",
                                    " lead",
                                    "trail ",
                                    "a:",
                                    ":a",
                                    "a\\nb",
                                    "127.0.0.1:7850",
                                    "/var/lib",
                                    std::string("\0x", 2),
                                    std::string(5000, 'k'),
                                    std::string(300, '\n')};
  v1::WorkerConfig config;
  config.set_data_dir("/d");
  for (const std::string& text : texts) {
    (*config.mutable_labels())["k" + std::to_string(config.labels_size())] = text;
    if (!text.empty()) (*config.mutable_labels())[text] = "v";
  }
  ExpectRoundTrip(config);
}

TEST(YamlWriterTest, EveryKindOfField) {
  v1::Job job;
  job.set_job_id("j-1");
  job.mutable_spec()->mutable_workload()->mutable_pressure()->mutable_burst();
  job.set_state(v1::Job::RUNNING);
  job.mutable_create_time()->set_seconds(1'738'324'800);
  job.mutable_create_time()->set_nanos(123'456'789);
  job.set_cancel_requested(true);
  job.set_run_count(std::numeric_limits<std::uint32_t>::max());
  ExpectRoundTrip(job);

  v1::DeviceFacts facts;
  facts.set_memory_bytes(4'021'024ULL * 1024);
  facts.add_capabilities(v1::PSI);
  facts.add_capabilities(v1::WORKLOAD_PRESSURE);
  facts.add_limitations("cannot lock memory: ask for CAP_IPC_LOCK");
  ExpectRoundTrip(facts);

  v1::Chunk chunk;
  chunk.set_body(std::string("\0\xff\x80 bytes", 9));
  ExpectRoundTrip(chunk);
}

TEST(YamlWriterTest, NumbersExactly) {
  std::mt19937_64 random(4);
  for (int i = 0; i < 300; ++i) {
    v1::JobSpec spec;
    auto* const pressure = spec.mutable_workload()->mutable_pressure();
    auto* const staircase = pressure->mutable_staircase();
    staircase->set_step_size_bytes(4096 + (random() >> (14 + random() % 40)));
    staircase->mutable_interval()->set_seconds(static_cast<std::int64_t>(random() % 86'000));
    staircase->mutable_interval()->set_nanos(static_cast<std::int32_t>(10'000'000 + random() % 900'000'000));
    pressure->set_floor_percent(std::uniform_real_distribution<double>(1e-9, 90)(random));
    pressure->mutable_content()->set_compression_ratio(std::uniform_real_distribution<double>(1, 64)(random));
    ExpectRoundTrip(spec);
  }
}

}  // namespace
}  // namespace ballast::config

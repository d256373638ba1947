// The committed JSON Schemas say what the messages print: no field is missing on either side.
#include <filesystem>
#include <string>

#include "common/base/file.h"
#include "gmock/gmock.h"
#include "golden_file.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/descriptor.pb.h"
#include "gtest/gtest.h"
#include "message_schema.h"

namespace ballast::report {
namespace {

const std::filesystem::path kSchemaDirectory = BALLAST_REPORT_SCHEMA_DIR;

// The vocabulary with its comments, which the descriptors inside the program have lost.
class SchemaTest : public testing::Test {
 protected:
  SchemaTest() {
    const absl::StatusOr<std::string> bytes = base::ReadFile(BALLAST_REPORT_DESCRIPTORS);
    google::protobuf::FileDescriptorSet files;
    EXPECT_TRUE(bytes.ok() && files.ParseFromString(*bytes));
    for (const google::protobuf::FileDescriptorProto& file : files.file()) {
      EXPECT_NE(pool_.BuildFile(file), nullptr) << file.name();
    }
  }

  google::protobuf::DescriptorPool pool_;
};

TEST_F(SchemaTest, OfReportsIsTheOneOfTheMessage) {
  const std::string schema =
      MessageSchema(*pool_.FindMessageTypeByName("ballast.v1.Report"), "urn:ballast:report:1", "Ballast report");
  EXPECT_TRUE(MatchesGoldenFile(schema, kSchemaDirectory / "report.schema.json"));
}

TEST_F(SchemaTest, OfComparisonsIsTheOneOfTheMessage) {
  const std::string schema = MessageSchema(*pool_.FindMessageTypeByName("ballast.v1.Comparison"),
                                           "urn:ballast:comparison:1", "Ballast comparison");
  EXPECT_TRUE(MatchesGoldenFile(schema, kSchemaDirectory / "comparison.schema.json"));
}

}  // namespace
}  // namespace ballast::report

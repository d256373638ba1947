#include "cli/render/variant_table.h"

#include "gtest/gtest.h"

namespace ballast::cli {
namespace {

v1::GroupSummary& AddVariant(v1::Report* report, const char* name, v1::OutcomeKind outcome, std::uint32_t invalid) {
  v1::GroupSummary& group = *report->add_by_variant();
  group.set_group(name);
  group.set_run_count(3);
  group.set_invalid_run_count(invalid);
  v1::OutcomeCount& count = *group.add_outcomes();
  count.set_outcome(outcome);
  count.set_count(3 - invalid);
  return group;
}

TEST(VariantTableTest, OutcomesAndTheMediansThatThereAre) {
  v1::Report report;
  EXPECT_EQ(VariantTable(report, std::nullopt), "");
  v1::FigureStatistics& held = *AddVariant(&report, "none", v1::COMPLETED, 0).add_figures();
  held.set_name("peak_held_bytes");
  held.set_n(3);
  held.set_median(1048576);
  AddVariant(&report, "phone-3gb", v1::OOM_KILLED, 1);
  EXPECT_EQ(VariantTable(report, std::nullopt),
            "VARIANT    RUNS  PEAK HELD  OUTCOMES\n"
            "none          3      1 MiB  COMPLETED 3 of 3\n"
            "phone-3gb     3          -  OOM_KILLED 2 of 2, 1 invalid, left out\n");
}

}  // namespace
}  // namespace ballast::cli

// Executions of programs under test, for people.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "ballast/v1/report.pb.h"
#include "ballast/v1/run.pb.h"

namespace ballast::cli {

// One execution in one line: its end, and what it took.
[[nodiscard]] std::string ExecutionText(const v1::CommandResult& command);

// A row an execution of the last attempts of these runs; empty where there are none.
[[nodiscard]] std::string ExecutionTable(const std::vector<const v1::RunReport*>& runs,
                                         std::optional<std::size_t> max_columns);

// How many of how many survived, a line a command, where some command was executed more than once.
[[nodiscard]] std::string SurvivalText(const v1::Report& report);

// The last lines of what was written, at most `most`; the newline at the very end counts for none.
[[nodiscard]] std::vector<std::string> TailLines(const std::string& tail, std::size_t most = 20);

// The end of the output of each execution that did not complete; empty where all did.
[[nodiscard]] std::string FailedOutputText(const v1::Run& run);

}  // namespace ballast::cli

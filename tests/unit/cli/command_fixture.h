// Whole command lines inside a test: streams are strings, the environment is a map, the coordinator is a fake one.
#pragma once

#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "cli/commands.h"
#include "gtest/gtest.h"

namespace ballast::cli {

// Removes itself.
class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string pattern = (std::filesystem::temp_directory_path() / "ballast-cli-XXXXXX").string();
    path_ = ::mkdtemp(pattern.data());
  }
  ~TemporaryDirectory() {
    std::error_code error;
    std::filesystem::remove_all(path_, error);
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

// Stands still where the test does not move it.
class FakeClock : public base::Clock {
 public:
  [[nodiscard]] base::SystemTime Now() const override {
    return base::SystemTime(std::chrono::seconds(1'740'837'600)) + elapsed;
  }
  [[nodiscard]] std::chrono::nanoseconds Monotonic() const override { return elapsed; }

  std::chrono::nanoseconds elapsed{0};
};

class CommandTest : public testing::Test {
 protected:
  CommandTest() {
    variables_["HOME"] = (directory_.path() / "home").string();
    variables_["PATH"] = directory_.path().string();
  }

  // The exit code; output is in out() and err() afterwards.
  int Run(const std::vector<std::string>& arguments) {
    out_.str("");
    err_.str("");
    return static_cast<int>(RunCommandLine(arguments, context_));
  }
  [[nodiscard]] std::string out() const { return out_.str(); }
  [[nodiscard]] std::string err() const { return err_.str(); }

  // A shell script where the programs of this project are looked for.
  void WriteProgram(const std::string& name, const std::string& script) {
    const std::filesystem::path path = directory_.path() / name;
    std::ofstream(path) << "#!/bin/sh\n" << script;
    std::filesystem::permissions(path, std::filesystem::perms::owner_all);
  }
  // Local mode from now on, with children that only hold their places: the private coordinator's socket leads to the
  // one at `address`, and PidFile() has the child's process.
  void UseLocalMode(const std::string& address) {
    variables_.erase("BALLAST_COORDINATOR");
    variables_["XDG_DATA_HOME"] = directory_.path().string();
    WriteProgram("ballast-coordinator", "echo $$ > " + PidFile().string() + "; ln -s " + address.substr(5) +
                                            " ${2#unix:}; echo listening on $2; exec sleep 600\n");
    WriteProgram("ballast-worker", "exec sleep 600\n");
  }
  [[nodiscard]] std::filesystem::path PidFile() const { return directory_.path() / "coordinator.pid"; }

  TemporaryDirectory directory_;
  std::map<std::string, std::string> variables_;
  std::ostringstream out_;
  std::ostringstream err_;
  FakeClock clock_;
  Interrupts interrupts_{nullptr};
  Context context_{.out = out_,
                   .err = err_,
                   .interrupts = interrupts_,
                   .clock = clock_,
                   .terminal = {},
                   .variable = [this](const std::string& name) -> std::optional<std::string> {
                     const auto found = variables_.find(name);
                     if (found == variables_.end() || found->second.empty()) return std::nullopt;
                     return found->second;
                   },
                   .program_directory = directory_.path()};
};

}  // namespace ballast::cli

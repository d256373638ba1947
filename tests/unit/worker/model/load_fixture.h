// A load as the runner carries it out, with everything that it tells.
#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "ballast/v1/run.pb.h"
#include "ballast/v1/runner.pb.h"
#include "common/base/clock.h"
#include "common/gguf/synthetic_model.h"
#include "tests/unit/worker/model/model_directory.h"
#include "worker/model/load_execution.h"

namespace ballast::model {

class RecordingObserver final : public LoadObserver {
 public:
  void OnPhase(const v1::Phase& phase) override {
    phases.push_back(phase);
    if (on_phase) on_phase(phase);
  }
  void OnEvent(const v1::Event& event) override { events.push_back(event); }
  void OnLoadBegin(const v1::LoadBegin& begin) override { begins.push_back(begin); }
  void OnRuntime(pid_t pid) override { runtimes.push_back(pid); }
  void OnStage(const v1::LoadStage& stage) override {
    stages.push_back(stage);
    if (on_stage) on_stage(stage);
  }

  [[nodiscard]] std::vector<v1::LoadStage::Kind> StageKinds() const {
    std::vector<v1::LoadStage::Kind> kinds;
    for (const v1::LoadStage& stage : stages) kinds.push_back(stage.kind());
    return kinds;
  }
  [[nodiscard]] std::vector<v1::Phase::Kind> PhaseKinds() const {
    std::vector<v1::Phase::Kind> kinds;
    for (const v1::Phase& phase : phases) kinds.push_back(phase.kind());
    return kinds;
  }
  [[nodiscard]] const v1::LoadStage& Stage(v1::LoadStage::Kind kind) const {
    for (const v1::LoadStage& stage : stages) {
      if (stage.kind() == kind) return stage;
    }
    ADD_FAILURE() << "no stage " << kind;
    static const v1::LoadStage kNone;
    return kNone;
  }

  std::vector<v1::Phase> phases;
  std::vector<v1::Event> events;
  std::vector<v1::LoadBegin> begins;
  std::vector<v1::LoadStage> stages;
  std::vector<pid_t> runtimes;
  std::function<void(const v1::Phase&)> on_phase;
  std::function<void(const v1::LoadStage&)> on_stage;
};

class LoadFixture : public testing::Test {
 protected:
  // A synthetic model of a few MiB, written.
  std::filesystem::path WriteModel(const std::string& level = "Q4_K_M", const std::string& name = "model.gguf") {
    const gguf::SyntheticModel model(gguf::FindShape("tiny").value(), gguf::FindQuantLevel(level).value(), 1);
    std::filesystem::path path = directory_.path() / name;
    const auto written = gguf::WriteSyntheticModel(model, path, {});
    EXPECT_TRUE(written.ok()) << written.status();
    return path;
  }

  v1::LoadTask Task(const std::filesystem::path& file, v1::ModelLoad::Loader loader = v1::ModelLoad::MMAP) {
    v1::LoadTask task;
    task.add_paths(file.string());
    task.set_index(3);
    v1::ModelLoad& load = *task.mutable_load();
    load.set_model_id("tiny");
    load.set_quant("Q4_K_M");
    load.set_loader(loader);
    load.set_runtime(v1::ModelLoad::BUILTIN);
    load.set_cache(v1::AS_IS);
    load.set_passes(2);
    return task;
  }

  v1::RunnerFinished Execute(const v1::LoadTask& task) {
    observer_.phases.clear();
    observer_.events.clear();
    observer_.begins.clear();
    observer_.stages.clear();
    observer_.runtimes.clear();
    return ExecuteLoad(task, base::RealClock().Monotonic(), &observer_, stop_.get_token());
  }

  // As where the agent reads slowly: telling that the use begins takes longer than the use.
  void TellUseSlowly(std::chrono::milliseconds use) {
    observer_.on_phase = [use](const v1::Phase& phase) {
      if (phase.kind() == v1::Phase::INFER) std::this_thread::sleep_for(use);
    };
  }

  ModelDirectory directory_;
  RecordingObserver observer_;
  std::stop_source stop_;
};

}  // namespace ballast::model

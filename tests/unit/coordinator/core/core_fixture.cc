#include "tests/unit/coordinator/core/core_fixture.h"

#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "coordinator/core/run_transitions.h"

namespace ballast::core {

std::string KeptState::Apply(const Mutation& mutation) {
  if (const auto* put = std::get_if<PutJob>(&mutation)) {
    if (!jobs.contains(put->job.job_id())) job_order.push_back(put->job.job_id());
    jobs[put->job.job_id()] = put->job;
  } else if (const auto* put_run = std::get_if<PutRun>(&mutation)) {
    const v1::Run& run = put_run->run;
    if (!jobs.contains(run.job_id())) return "run without job " + run.job_id();
    const bool has_none = run.device_id().empty() && run.attempts().empty() &&
                          (run.state() == v1::Run::QUEUED || run.state() == v1::Run::ENDED);
    if (!has_none && !devices.contains(run.device_id()) && !runs.contains(run.run_id()))
      return "run without device " + run.device_id();
    if (runs.contains(run.run_id()) && IsEnded(runs[run.run_id()])) {
      if (runs[run.run_id()].outcome().SerializeAsString() != run.outcome().SerializeAsString()) {
        return "the outcome of " + run.run_id() + " changed";
      }
    }
    runs[run.run_id()] = run;
  } else if (const auto* put_device = std::get_if<PutDevice>(&mutation)) {
    devices[put_device->device.device_id()] = put_device->device;
  } else if (const auto* gone = std::get_if<DeleteDevice>(&mutation)) {
    devices.erase(gone->device_id);
  } else if (const auto* old_run = std::get_if<DeleteRun>(&mutation)) {
    runs.erase(old_run->run_id);
  } else if (const auto* old_job = std::get_if<DeleteJob>(&mutation)) {
    jobs.erase(old_job->job_id);
    std::erase(job_order, old_job->job_id);
  } else if (const auto* chunk = std::get_if<PutChunk>(&mutation)) {
    if (!runs.contains(chunk->run_id)) return "chunk without run " + chunk->run_id;
    chunks.emplace(std::tuple(chunk->run_id, chunk->attempt, chunk->seq), chunk->chunk);
  } else if (const auto* reservation = std::get_if<PutReservation>(&mutation)) {
    reservations[reservation->reservation.reservation_id()] = reservation->reservation;
  } else if (const auto* ended = std::get_if<DeleteReservation>(&mutation)) {
    reservations.erase(ended->reservation_id);
  } else if (const auto* schedule = std::get_if<PutSchedule>(&mutation)) {
    schedules[schedule->schedule.schedule_id()] = schedule->schedule;
  } else if (const auto* deleted = std::get_if<DeleteSchedule>(&mutation)) {
    schedules.erase(deleted->schedule_id);
  }
  return {};
}

absl::Status KeptState::RestoreInto(Core* core, const Instant& now, Actions* actions) const {
  StoredState stored;
  for (const std::string& job_id : job_order) {
    const v1::Job& job = jobs.at(job_id);
    if (job.state() == v1::Job::FINISHED || job.state() == v1::Job::CANCELLED) continue;
    stored.jobs.push_back(job);
    for (std::uint32_t n = 1; n <= job.run_count(); ++n) {
      const auto run = runs.find(fmt::format("{}.{}", job_id, n));
      if (run != runs.end()) stored.runs.push_back(run->second);
    }
  }
  for (const auto& [device_id, device] : devices) stored.devices.push_back(device);
  for (const auto& [reservation_id, reservation] : reservations) stored.reservations.push_back(reservation);
  for (const auto& [schedule_id, schedule] : schedules) stored.schedules.push_back(schedule);
  return core->Restore(now, std::move(stored), actions);
}

CoreTest::CoreTest() {
  options_.version = "test";
  now_.wall = base::SystemTime(std::chrono::seconds(1'700'000'000));
  now_.steady = std::chrono::seconds(1000);
  core_ = std::make_unique<Core>(options_);
}

void CoreTest::Restart() {
  core_ = std::make_unique<Core>(options_);
  actions_ = {};
  const absl::Status status = kept_.RestoreInto(core_.get(), now_, &actions_);
  ASSERT_TRUE(status.ok()) << status;
  Settle();
}

void CoreTest::AdvanceTicking(std::chrono::nanoseconds time) {
  const std::chrono::nanoseconds end = now_.steady + time;
  while (core_->NextWakeUp() && *core_->NextWakeUp() <= end) {
    Advance(std::max(*core_->NextWakeUp() - now_.steady, std::chrono::nanoseconds(0)));
    core_->Tick(now_, &actions_);
    Settle();
  }
  Advance(end - now_.steady);
}

void CoreTest::Settle() {
  Actions taken = std::exchange(actions_, {});
  for (const Mutation& mutation : taken.mutations) EXPECT_EQ(kept_.Apply(mutation), "");
  for (Output& output : taken.outputs) {
    if (auto* send = std::get_if<SendMessage>(&output)) {
      const v1::CoordinatorMessage& message = send->message;
      std::vector<std::string>& said = said_[send->session];
      if (message.has_welcome()) said.emplace_back("welcome");
      if (message.has_assignment()) {
        said.push_back(fmt::format("assign {}/{}", message.assignment().run_id(), message.assignment().attempt()));
      }
      if (message.has_cancel()) {
        said.push_back(fmt::format("cancel {}/{} {}", message.cancel().run_id(), message.cancel().attempt(),
                                   v1::OutcomeKind_Name(message.cancel().outcome())));
      }
      if (message.has_ack()) {
        said.push_back(fmt::format("ack {}/{} {}", message.ack().run_id(), message.ack().attempt(),
                                   fmt::join(message.ack().seqs(), ",")));
      }
      if (message.has_record_rejected()) {
        said.push_back(
            fmt::format("reject {}/{}", message.record_rejected().run_id(), message.record_rejected().attempt()));
      }
      messages_[send->session].push_back(std::move(send->message));
    } else if (auto* end = std::get_if<EndSession>(&output)) {
      said_[end->session].push_back("end " + absl::StatusCodeToString(end->status.code()));
    } else if (auto* publish = std::get_if<PublishUpdate>(&output)) {
      const v1::JobUpdate& update = publish->update;
      if (update.has_job()) {
        published_.push_back(fmt::format("{} {}", update.job().job_id(), v1::Job::State_Name(update.job().state())));
      }
      if (update.has_run()) {
        published_.push_back(fmt::format("{} {}", update.run().run_id(), v1::Run::State_Name(update.run().state())));
      }
      if (update.has_progress()) published_.push_back(fmt::format("{} progress", update.progress().run_id()));
    } else if (auto* close = std::get_if<CloseWatches>(&output)) {
      published_.push_back(close->job_id + " closed");
    } else if (auto* load = std::get_if<LoadRun>(&output)) {
      loads_.push_back(load->run_id);
    } else if (auto* want = std::get_if<WantJob>(&output)) {
      wanted_.push_back(std::move(*want));
    }
  }
}

SessionId CoreTest::Connect(const std::string& device_id, const std::map<std::string, std::string>& labels,
                            const std::vector<HeldRun>& active, const std::vector<HeldRun>& waiting) {
  const SessionId session = next_session_++;
  v1::WorkerMessage message;
  v1::Hello* hello = message.mutable_hello();
  hello->set_device_id(device_id);
  hello->set_protocol_version(1);
  hello->mutable_facts()->set_hostname("host-" + device_id);
  hello->mutable_facts()->add_capabilities(v1::WORKLOAD_PRESSURE);
  for (const auto& [key, value] : labels) (*hello->mutable_labels())[key] = value;
  for (const std::vector<HeldRun>* list : {&active, &waiting}) {
    for (const HeldRun& held : *list) {
      v1::HeldAttempt* attempt = hello->add_held_attempts();
      attempt->set_run_id(held.run_id);
      attempt->set_attempt(held.attempt);
      attempt->set_active(list == &active);
    }
  }
  Send(session, std::move(message));
  return session;
}

void CoreTest::Disconnect(SessionId session) {
  core_->Disconnect(now_, session, &actions_);
  Settle();
}

void CoreTest::Heartbeat(SessionId session, const std::string& run_id, std::uint32_t attempt,
                         std::uint64_t spool_bytes) {
  v1::WorkerMessage message;
  message.mutable_heartbeat()->set_active_run_id(run_id);
  message.mutable_heartbeat()->set_active_attempt(attempt);
  message.mutable_heartbeat()->set_spool_bytes(spool_bytes);
  Send(session, std::move(message));
}

v1::WorkerMessage RecordMessage(const std::string& run_id, std::uint32_t attempt, std::uint64_t seq) {
  v1::WorkerMessage message;
  message.mutable_record()->set_run_id(run_id);
  message.mutable_record()->set_attempt(attempt);
  message.mutable_record()->set_seq(seq);
  return message;
}

void CoreTest::Started(SessionId session, const std::string& run_id, std::uint32_t attempt) {
  v1::WorkerMessage message = RecordMessage(run_id, attempt, 1);
  message.mutable_record()->mutable_started()->set_boot_id("boot");
  *message.mutable_record()->mutable_started()->mutable_start_time() = base::ToProto(now_.wall);
  Send(session, std::move(message));
}

void CoreTest::Chunk(SessionId session, const std::string& run_id, std::uint64_t seq, std::uint32_t attempt) {
  v1::WorkerMessage message = RecordMessage(run_id, attempt, seq);
  message.mutable_record()->mutable_chunk()->set_body(fmt::format("{}/{}/{}", run_id, attempt, seq));
  Send(session, std::move(message));
}

void CoreTest::Finished(SessionId session, const std::string& run_id, v1::OutcomeKind kind, std::uint64_t seq,
                        std::uint32_t attempt) {
  v1::WorkerMessage message = RecordMessage(run_id, attempt, seq);
  v1::RunResult* result = message.mutable_record()->mutable_finished()->mutable_result();
  result->mutable_outcome()->set_kind(kind);
  result->mutable_outcome()->mutable_evidence()->mutable_last_samples()->add_offset_ms(1.0);
  result->mutable_outcome()->mutable_evidence()->add_kernel_log("line");
  result->add_phases()->set_kind(v1::Phase::HOLD);
  result->set_peak_held_bytes(4096);
  Send(session, std::move(message));
}

void CoreTest::Refuse(SessionId session, const std::string& run_id, v1::OutcomeKind kind, std::uint32_t attempt) {
  v1::WorkerMessage message;
  message.mutable_assignment_rejected()->set_run_id(run_id);
  message.mutable_assignment_rejected()->set_attempt(attempt);
  message.mutable_assignment_rejected()->set_outcome(kind);
  message.mutable_assignment_rejected()->set_reason("because");
  Send(session, std::move(message));
}

void CoreTest::Send(SessionId session, v1::WorkerMessage message) {
  core_->Receive(now_, session, std::move(message), &actions_);
  Settle();
}

v1::JobSpec CoreTest::Spec() {
  v1::JobSpec spec;
  spec.mutable_workload()->mutable_pressure()->mutable_burst()->set_target_percent(50);
  spec.mutable_devices()->set_all(true);
  spec.set_repetitions(1);
  *spec.mutable_policy()->mutable_lost_after() = base::ToProto(hours(1));
  spec.mutable_policy()->set_max_attempts(1);
  spec.mutable_policy()->set_expect(v1::COMPLETED);
  return spec;
}

absl::StatusOr<v1::Job> CoreTest::Submit(v1::JobSpec spec, const std::string& request_id,
                                         const std::string& submitter) {
  absl::StatusOr<v1::Job> job =
      core_->Submit(now_, {fmt::format("j-{}", next_job_++), std::move(spec), request_id, submitter}, &actions_);
  Settle();
  return job;
}

absl::StatusOr<v1::Job> CoreTest::SubmitWanted(const WantJob& want) {
  absl::StatusOr<v1::Job> job = core_->Submit(
      now_, {fmt::format("j-{}", next_job_++), want.spec, want.request_id, want.submitter, {}, want.origin}, &actions_);
  Settle();
  return job;
}

std::vector<std::string> CoreTest::WaitsFor(const std::string& job_id) {
  v1::Job job;
  job.set_job_id(job_id);
  core_->FillWaitReasons(now_, &job);
  std::vector<std::string> reasons;
  for (const v1::WaitReason& reason : job.wait_reasons()) {
    reasons.push_back(
        fmt::format("{} {}: {}", reason.run_count(), v1::WaitReason::Kind_Name(reason.kind()), reason.message()));
  }
  return reasons;
}

absl::StatusOr<v1::Job> CoreTest::Cancel(const std::string& job_id) {
  absl::StatusOr<v1::Job> job = core_->CancelJob(now_, job_id, &actions_);
  Settle();
  return job;
}

std::vector<std::string> CoreTest::Said(SessionId session) {
  return std::exchange(said_[session], {});
}

}  // namespace ballast::core

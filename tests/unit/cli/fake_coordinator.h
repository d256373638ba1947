// A coordinator that answers from memory, on a unix socket, and with certificates at a port.
#pragma once

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "ballast/v1/client_service.grpc.pb.h"
#include "ballast/v1/enrollment_service.grpc.pb.h"
#include "common/base/clock.h"
#include "common/base/status.h"
#include "common/rpc/channel.h"
#include "common/tls/authority.h"
#include "common/tls/identity.h"
#include "common/tls/private_key.h"
#include "grpcpp/grpcpp.h"

namespace ballast::cli {

// Holds jobs, runs and devices. A job that is submitted ends at once, each device's run with `outcome`, unless
// `hold_jobs` is set: then it stays RUNNING until it is cancelled. Thread-safe through `mutex`: lock it to look at or
// change what is here while calls may come.
class FakeCoordinator : public v1::JobService::Service,
                        public v1::RunService::Service,
                        public v1::DeviceService::Service,
                        public v1::ReportService::Service,
                        public v1::ModelService::Service,
                        public v1::EnrollmentService::Service {
 public:
  // Listens until Stop or destruction; may listen again after Stop.
  explicit FakeCoordinator(const std::filesystem::path& directory)
      : address_("unix:" + (directory / "c.sock").string()) {
    Listen();
  }
  ~FakeCoordinator() override { Stop(); }

  void Listen() {
    grpc::ServerBuilder builder;
    builder.AddListeningPort(address_, grpc::InsecureServerCredentials());
    for (grpc::Service* service : std::initializer_list<grpc::Service*>{
             static_cast<v1::JobService::Service*>(this), static_cast<v1::RunService::Service*>(this),
             static_cast<v1::DeviceService::Service*>(this), static_cast<v1::ReportService::Service*>(this),
             static_cast<v1::ModelService::Service*>(this), static_cast<v1::EnrollmentService::Service*>(this)}) {
      builder.RegisterService(service);
    }
    int port = 0;
    if (authority_) builder.AddListeningPort("127.0.0.1:0", ServerCredentials(), &port);
    {
      const std::scoped_lock lock(mutex);
      stopping_ = false;
    }
    server_ = builder.BuildAndStart();
    secure_address_ = "127.0.0.1:" + std::to_string(port);
  }
  // Listens anew, at secure_address() as well, with certificates of an authority of its own.
  void ListenSecurely() {
    Stop();
    authority_ = *tls::CertificateAuthority::Create(base::RealClock().Now());
    Listen();
  }
  void Stop() {
    if (server_ == nullptr) return;
    {
      const std::scoped_lock lock(mutex);
      stopping_ = true;
      changed.notify_all();
    }
    server_->Shutdown(std::chrono::system_clock::now());
    server_.reset();
  }
  [[nodiscard]] const std::string& address() const { return address_; }
  [[nodiscard]] const std::string& secure_address() const { return secure_address_; }

  // A client's certificate, after ListenSecurely.
  [[nodiscard]] tls::Identity Issue(base::SystemTime now, std::chrono::nanoseconds lifetime) const {
    const std::string key = *tls::MakePrivateKey();
    return *tls::MakeIdentity(
        key, *authority_->IssueClient(*tls::MakeCertificateRequest(key, "x"), v1::CLIENT, "anna", now, lifetime),
        authority_->certificate_pem());
  }

  // Blocks until a watch has sent everything there was and waits.
  void AwaitWatcher() {
    std::unique_lock lock(mutex);
    changed.wait(lock, [this] { return waiting_watchers_ > 0; });
  }

  grpc::Status SubmitJob(grpc::ServerContext*, const v1::SubmitJobRequest* request, v1::Job* response) override {
    const std::scoped_lock lock(mutex);
    submitted.push_back(*request);
    if (!submit_status.ok()) return rpc::ToGrpc(submit_status);
    v1::Job job;
    job.set_job_id("j-" + std::to_string(jobs.size() + 1));
    *job.mutable_spec() = request->spec();
    job.set_submitter(request->submitter());
    for (const std::string& device : {std::string("dev-1"), std::string("dev-2")}) {
      v1::Run run;
      run.set_run_id(job.job_id() + "." + std::to_string(job.run_count() + 1));
      run.set_job_id(job.job_id());
      run.set_device_id(device);
      run.set_repetition(1);
      run.set_state(hold_jobs ? v1::Run::RUNNING : v1::Run::ENDED);
      if (!hold_jobs) run.mutable_outcome()->set_kind(outcome);
      runs[run.run_id()] = run;
      job.set_run_count(job.run_count() + 1);
    }
    job.set_state(hold_jobs ? v1::Job::RUNNING : v1::Job::FINISHED);
    jobs[job.job_id()] = job;
    *response = job;
    return grpc::Status::OK;
  }
  grpc::Status GetJob(grpc::ServerContext*, const v1::GetJobRequest* request, v1::Job* response) override {
    const std::scoped_lock lock(mutex);
    if (!get_job_status.ok()) return rpc::ToGrpc(get_job_status);
    return Find(jobs, request->job_id(), "job", response);
  }
  grpc::Status ListJobs(grpc::ServerContext*, const v1::ListJobsRequest* request,
                        v1::ListJobsResponse* response) override {
    const std::scoped_lock lock(mutex);
    Page(
        jobs, *request, [&](const v1::Job& job) { *response->add_jobs() = job; }, response->mutable_next_page_token());
    return grpc::Status::OK;
  }
  grpc::Status CancelJob(grpc::ServerContext*, const v1::CancelJobRequest* request, v1::Job* response) override {
    const std::scoped_lock lock(mutex);
    if (const auto status = Find(jobs, request->job_id(), "job", response); !status.ok()) return status;
    v1::Job& job = jobs[request->job_id()];
    job.set_cancel_requested(true);
    job.set_state(v1::Job::CANCELLED);
    for (auto& [id, run] : runs) {
      if (run.job_id() != job.job_id() || run.state() == v1::Run::ENDED) continue;
      run.set_state(v1::Run::ENDED);
      run.mutable_outcome()->set_kind(v1::CANCELLED);
    }
    *response = job;
    changed.notify_all();
    return grpc::Status::OK;
  }
  grpc::Status WatchJob(grpc::ServerContext* context, const v1::WatchJobRequest* request,
                        grpc::ServerWriter<v1::JobUpdate>* writer) override {
    std::unique_lock lock(mutex);
    ++watch_count;
    std::map<std::string, std::string> written;
    // What has not changed is not sent again, and what a job waits for is no change, as at the real one.
    const auto write = [&](const std::string& id, const v1::JobUpdate& update) {
      v1::JobUpdate compared = update;
      if (compared.has_job()) compared.mutable_job()->clear_wait_reasons();
      std::string text = compared.SerializeAsString();
      if (written[id] == text) return;
      written[id] = std::move(text);
      writer->Write(update);
    };
    while (true) {
      if (const absl::Status status = check_watch ? check_watch(CertificateOf(*context)) : absl::OkStatus();
          !status.ok()) {
        return rpc::ToGrpc(status);
      }
      const auto job = jobs.find(request->job_id());
      if (job == jobs.end()) return {grpc::StatusCode::NOT_FOUND, "there is no job " + request->job_id()};
      v1::JobUpdate update;
      for (const auto& [id, run] : runs) {
        if (run.job_id() != request->job_id()) continue;
        *update.mutable_run() = run;
        write(id, update);
      }
      *update.mutable_job() = job->second;
      write(job->first, update);
      if (job->second.state() == v1::Job::FINISHED || job->second.state() == v1::Job::CANCELLED)
        return grpc::Status::OK;
      ++waiting_watchers_;
      changed.notify_all();
      // A client that leaves is noticed when the test cancels or stops; a bound keeps a broken test from hanging.
      changed.wait_for(lock, std::chrono::milliseconds(50));
      --waiting_watchers_;
      if (stopping_) return {grpc::StatusCode::UNAVAILABLE, "stopping"};
      if (context->IsCancelled()) return grpc::Status::CANCELLED;
    }
  }
  grpc::Status GetRun(grpc::ServerContext*, const v1::GetRunRequest* request, v1::Run* response) override {
    const std::scoped_lock lock(mutex);
    return Find(runs, request->run_id(), "run", response);
  }
  grpc::Status ListRuns(grpc::ServerContext*, const v1::ListRunsRequest* request,
                        v1::ListRunsResponse* response) override {
    const std::scoped_lock lock(mutex);
    run_requests.push_back(*request);
    Page(
        runs, *request, [&](const v1::Run& run) { *response->add_runs() = run; }, response->mutable_next_page_token());
    return grpc::Status::OK;
  }
  grpc::Status ReadSamples(grpc::ServerContext*, const v1::ReadSamplesRequest* request,
                           grpc::ServerWriter<v1::SampleSeries>* writer) override {
    const std::scoped_lock lock(mutex);
    sample_requests.push_back(*request);
    for (const v1::SampleSeries& series : samples) writer->Write(series);
    return grpc::Status::OK;
  }
  grpc::Status GetDevice(grpc::ServerContext*, const v1::GetDeviceRequest* request, v1::Device* response) override {
    const std::scoped_lock lock(mutex);
    return Find(devices, request->device_id(), "device", response);
  }
  grpc::Status ListDevices(grpc::ServerContext*, const v1::ListDevicesRequest* request,
                           v1::ListDevicesResponse* response) override {
    const std::scoped_lock lock(mutex);
    Page(
        devices, *request, [&](const v1::Device& device) { *response->add_devices() = device; },
        response->mutable_next_page_token());
    return grpc::Status::OK;
  }
  grpc::Status LabelDevice(grpc::ServerContext*, const v1::LabelDeviceRequest* request, v1::Device* response) override {
    const std::scoped_lock lock(mutex);
    label_requests.push_back(*request);
    for (const auto& [key, value] : request->set()) {
      if (key.find(' ') != std::string::npos)
        return {grpc::StatusCode::INVALID_ARGUMENT, "label '" + key + "': a space"};
    }
    return Find(devices, request->device_id(), "device", response);
  }
  grpc::Status RemoveDevice(grpc::ServerContext*, const v1::RemoveDeviceRequest* request, v1::Device*) override {
    return {grpc::StatusCode::FAILED_PRECONDITION, "device " + request->device_id() + " is connected"};
  }
  grpc::Status GetReport(grpc::ServerContext*, const v1::GetReportRequest* request, v1::Report* response) override {
    const std::scoped_lock lock(mutex);
    report_requests.push_back(*request);
    for (const std::string& id : request->job_ids()) {
      if (!jobs.contains(id)) return {grpc::StatusCode::NOT_FOUND, "there is no job " + id};
      for (const auto& [run_id, run] : runs) {
        if (run.job_id() != id) continue;
        v1::RunReport& entry = *response->add_runs();
        *entry.mutable_run() = run;
        if (const auto device = devices.find(run.device_id()); device != devices.end())
          entry.set_device_name(device->second.facts().hostname());
      }
    }
    return grpc::Status::OK;
  }
  grpc::Status ExportReport(grpc::ServerContext*, const v1::ExportReportRequest* request,
                            grpc::ServerWriter<v1::ExportPiece>* writer) override {
    const std::scoped_lock lock(mutex);
    v1::ExportPiece piece;
    // No model was loaded, and no program executed.
    if (request->format() == v1::ExportReportRequest::CSV_LOADS) return grpc::Status::OK;
    if (request->format() == v1::ExportReportRequest::CSV_COMMANDS) return grpc::Status::OK;
    for (const std::string& text : {v1::ExportReportRequest::Format_Name(request->format()), std::string(" of "),
                                    request->scope().job_ids().empty() ? "runs" : request->scope().job_ids(0)}) {
      piece.set_content(text);
      writer->Write(piece);
    }
    return grpc::Status::OK;
  }
  grpc::Status CompareRuns(grpc::ServerContext*, const v1::CompareRunsRequest* request,
                           v1::Comparison* response) override {
    const std::scoped_lock lock(mutex);
    compare_requests.push_back(*request);
    *response = comparison;
    return grpc::Status::OK;
  }
  grpc::Status AdviseModel(grpc::ServerContext*, const v1::AdviseModelRequest* request,
                           v1::ModelAdvice* response) override {
    const std::scoped_lock lock(mutex);
    advise_requests.push_back(*request);
    if (request->model_id() != advice.model_id()) {
      return {grpc::StatusCode::NOT_FOUND, "no model '" + request->model_id() + "' in the catalogue"};
    }
    *response = advice;
    return grpc::Status::OK;
  }

  grpc::Status Renew(grpc::ServerContext* context, const v1::RenewRequest* request,
                     v1::EnrollResponse* response) override {
    const std::scoped_lock lock(mutex);
    ++renew_count;
    changed.notify_all();
    if (CertificateOf(*context).empty()) return {grpc::StatusCode::UNAUTHENTICATED, "there is no certificate"};
    const auto issued = authority_->IssueClient(request->certificate_request_pem(), v1::CLIENT, "anna",
                                                base::RealClock().Now(), std::chrono::hours(24));
    if (!issued.ok()) return rpc::ToGrpc(issued.status());
    response->set_certificate_pem(*issued);
    response->set_authority_pem(authority_->certificate_pem());
    return grpc::Status::OK;
  }

  std::mutex mutex;
  std::condition_variable changed;
  std::map<std::string, v1::Job> jobs;
  std::map<std::string, v1::Run> runs;
  std::map<std::string, v1::Device> devices;
  std::vector<v1::SampleSeries> samples;
  v1::Comparison comparison;
  v1::ModelAdvice advice;
  v1::OutcomeKind outcome = v1::COMPLETED;
  bool hold_jobs = false;
  int largest_page = 1000;
  absl::Status submit_status;
  absl::Status get_job_status;
  // Whether a watch may go on, by the certificate that it came with; it is asked again at each change.
  std::function<absl::Status(const std::string& certificate_pem)> check_watch;
  int watch_count = 0;
  int renew_count = 0;
  std::vector<v1::SubmitJobRequest> submitted;
  std::vector<v1::ListRunsRequest> run_requests;
  std::vector<v1::ReadSamplesRequest> sample_requests;
  std::vector<v1::LabelDeviceRequest> label_requests;
  std::vector<v1::GetReportRequest> report_requests;
  std::vector<v1::CompareRunsRequest> compare_requests;
  std::vector<v1::AdviseModelRequest> advise_requests;

 private:
  static std::string CertificateOf(const grpc::ServerContext& context) {
    const auto found = context.auth_context()->FindPropertyValues(GRPC_X509_PEM_CERT_PROPERTY_NAME);
    return found.empty() ? std::string() : std::string(found.front().data(), found.front().size());
  }
  [[nodiscard]] std::shared_ptr<grpc::ServerCredentials> ServerCredentials() const {
    const std::string key = *tls::MakePrivateKey();
    const std::string certificate = *authority_->IssueServer(*tls::MakeCertificateRequest(key, "x"), {"127.0.0.1"},
                                                             base::RealClock().Now(), std::chrono::hours(24));
    grpc::SslServerCredentialsOptions options(GRPC_SSL_REQUEST_CLIENT_CERTIFICATE_BUT_DONT_VERIFY);
    options.pem_root_certs = authority_->certificate_pem();
    options.pem_key_cert_pairs.push_back({key, certificate});
    return grpc::SslServerCredentials(options);
  }

  template <typename Map, typename Item>
  static grpc::Status Find(const Map& map, const std::string& id, const std::string& what, Item* item) {
    const auto found = map.find(id);
    if (found == map.end()) return {grpc::StatusCode::NOT_FOUND, "there is no " + what + " " + id};
    *item = found->second;
    return grpc::Status::OK;
  }
  // Pages by the last identifier of the page before.
  template <typename Map, typename Request, typename Add>
  void Page(const Map& map, const Request& request, const Add& add, std::string* next) const {
    int left = std::min(request.page_size(), largest_page);
    for (auto entry = map.upper_bound(request.page_token()); entry != map.end(); ++entry) {
      if (left-- == 0) {
        *next = std::prev(entry)->first;
        return;
      }
      add(entry->second);
    }
  }

  std::string address_;
  std::string secure_address_;
  std::optional<tls::CertificateAuthority> authority_;
  bool stopping_ = false;
  int waiting_watchers_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace ballast::cli

#include "worker/agent/model_preparation.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include "common/base/status.h"

namespace ballast::agent {

absl::StatusOr<std::unique_ptr<ModelPreparation>> ModelPreparation::Start(ModelSource* source,
                                                                          std::vector<v1::ResolvedModel> models,
                                                                          v1::ModelLoad load,
                                                                          std::uint64_t limit_bytes) {
  std::unique_ptr<ModelPreparation> preparation(new ModelPreparation(std::move(models), std::move(load), limit_bytes));
  preparation->over_fd_.Reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!preparation->over_fd_.valid()) return base::ErrnoStatus(errno, "eventfd");
  try {
    preparation->thread_ =
        std::jthread([self = preparation.get(), source](const std::stop_token& stop) { self->Work(source, stop); });
  } catch (const std::system_error& error) {  // the only way in which the library tells
    return absl::ResourceExhaustedError(fmt::format(
        "start the thread that prepares models: {}; raise the limit of tasks (ulimit -u, pids.max)", error.what()));
  }
  return preparation;
}

ModelPreparation::~ModelPreparation() = default;

void ModelPreparation::Work(ModelSource* source, const std::stop_token& stop) {
  for (const v1::ResolvedModel& model : models_) {
    {
      const std::scoped_lock lock(mutex_);
      quant_ = model.quant();
      progress_ = {};
    }
    if (source == nullptr) {
      ready_.emplace_back(absl::UnimplementedError("this worker cannot bring models onto its device"));
      continue;
    }
    PrepareOptions options;
    options.limit_bytes = limit_bytes_;
    options.on_progress = [this](const PrepareProgress& progress) {
      const std::scoped_lock lock(mutex_);
      progress_ = progress;
    };
    ready_.push_back(source->Prepare(model, load_, options, stop));
  }
  over_ = true;
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t ignored = ::write(over_fd_.get(), &one, sizeof one);
}

PrepareProgress ModelPreparation::progress() const {
  const std::scoped_lock lock(mutex_);
  return progress_;
}

std::string ModelPreparation::quant() const {
  const std::scoped_lock lock(mutex_);
  return quant_;
}

}  // namespace ballast::agent

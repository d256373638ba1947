#include "worker/pressure/hot_set_observer.h"

#include <fmt/format.h>

#include "common/base/clock.h"
#include "common/base/units.h"

namespace ballast::pressure {
namespace {

constexpr std::chrono::seconds kNoticeInterval(10);

}  // namespace

void HotSetObserver::OnState(const v1::RunnerState& state) {
  observer_->OnState(state);
  const HotSetReport report = report_();
  const std::uint64_t shortfall = report.shortfall_bytes();
  const bool begins = shortfall > 0 && !behind_;
  behind_ = shortfall > 0;
  const std::chrono::nanoseconds now = pacer_->Now();
  if (!begins || (last_told_ && now - *last_told_ < kNoticeInterval)) return;
  last_told_ = now;
  v1::Event event;
  *event.mutable_offset() = base::ToProto(now - attempt_start_);
  event.set_kind(v1::Event::LAGGED);
  event.set_message(fmt::format("touching the {} of the hot set takes {}, not {}: pages have to be read back first",
                                base::FormatBytes(report.hot_bytes), base::FormatDuration(report.last_round),
                                base::FormatDuration(report.interval)));
  event.set_value(static_cast<double>(shortfall));
  observer_->OnEvent(event);
}

std::string Summarise(const HotSetReport& report) {
  return fmt::format("hot set: {} touched in {} rounds, the longest took {} of {}",
                     report.touched_pages == 1 ? "1 page" : fmt::format("{} pages", report.touched_pages),
                     report.rounds, base::FormatDuration(report.longest_round), base::FormatDuration(report.interval));
}

}  // namespace ballast::pressure

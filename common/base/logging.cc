#include "common/base/logging.h"

#include <algorithm>
#include <array>
#include <ctime>
#include <memory>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "common/base/characters.h"
#include "common/base/text.h"
#include "spdlog/pattern_formatter.h"
#include "spdlog/sinks/stdout_sinks.h"

namespace ballast::base {

namespace {

// What outsiders said is part of many messages: none may make a second line, or steer the terminal of who reads it.
class SafeMessage final : public spdlog::custom_flag_formatter {
 public:
  void format(const spdlog::details::log_msg& message, const std::tm& /*time*/, spdlog::memory_buf_t& out) override {
    const std::string text = EscapeUnsafe({message.payload.data(), message.payload.size()});
    out.append(text.data(), text.data() + text.size());
  }
  [[nodiscard]] std::unique_ptr<custom_flag_formatter> clone() const override {
    return std::make_unique<SafeMessage>();
  }
};

std::shared_ptr<spdlog::logger> MakeLogger(std::string_view name, spdlog::level::level_enum level) {
  auto logger = std::make_shared<spdlog::logger>(std::string(name), std::make_shared<spdlog::sinks::stderr_sink_mt>());
  auto formatter = std::make_unique<spdlog::pattern_formatter>(spdlog::pattern_time_type::utc);
  formatter->add_flag<SafeMessage>('*').set_pattern("%Y-%m-%dT%H:%M:%S.%eZ %l %n: %*");
  logger->set_formatter(std::move(formatter));
  logger->set_level(level);
  logger->flush_on(spdlog::level::trace);
  return logger;
}

std::shared_ptr<spdlog::logger>& TheLogger() {
  // Never destroyed: threads of a program that ends may still log.
  static auto& logger = *new std::shared_ptr<spdlog::logger>(MakeLogger("ballast", spdlog::level::warn));
  return logger;
}

}  // namespace

spdlog::logger& Log() {
  return *TheLogger();
}

absl::Status InitLogging(std::string_view program, std::string_view level) {
  constexpr std::array<std::string_view, 5> kLevels = {"trace", "debug", "info", "warn", "error"};
  if (std::find(kLevels.begin(), kLevels.end(), level) == kLevels.end()) {
    return absl::InvalidArgumentError(
        fmt::format("unknown log level {}; use trace, debug, info, warn or error", Quoted(level)));
  }
  TheLogger() = MakeLogger(program, spdlog::level::from_str(std::string(level)));
  return absl::OkStatus();
}

}  // namespace ballast::base

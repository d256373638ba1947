#include "cli/command_tree.h"

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <string_view>

#include <fmt/format.h>

#include "cli/error_text.h"
#include "common/base/status.h"
#include "common/base/text.h"
#include "common/config/field_text.h"

namespace ballast::cli {
namespace {

constexpr char kCoordinatorFlag[] = "--coordinator";
constexpr char kInsecureFlag[] = "--insecure";

std::string Examples(const std::vector<std::string>& examples) {
  if (examples.empty()) return {};
  std::string text = "\nExamples:";
  for (const std::string& line : examples) text += line.empty() ? "\n" : "\n  " + line;
  return text;
}

std::vector<std::string> FlagNames(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  }
  return names;
}

std::vector<std::string> CommandNames(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; }))
    names.push_back(command->get_name());
  return names;
}

std::string Joined(const std::vector<std::string>& names) {
  return fmt::format("{}", fmt::join(names, ", "));
}

// What CLI11 says of a flag whose value is missing or given twice, in plainer words.
std::string ExplainMismatch(const CLI::ArgumentMismatch& error) {
  const std::string_view message = error.what();
  const std::string_view flag = message.substr(0, message.find(':'));
  if (!flag.starts_with("--")) return error.what();
  return message.ends_with("missing") ? fmt::format("{} needs a value", flag)
                                      : fmt::format("{} may be given once, with one value", flag);
}

absl::Status UsageError(const std::string& message, const std::string& near, const CLI::App& app) {
  return WithNextStep(absl::InvalidArgumentError(near.empty() ? message : message + "; " + near),
                      fmt::format("{} --help", FullName(app)));
}

// That what was given to a command is text: it becomes text in messages, labels and names. Paths may be any bytes,
// those of unix sockets too: they go to the kernel, and are made printable where they are shown. So may the command
// line behind `--`, which is cut off before; exec says itself where it cannot take that. A join token is checked by
// login, which does not repeat it.
absl::Status CheckText(const CLI::App& app) {
  constexpr std::string_view kOtherTypes[] = {"FILE", "DIR", "ADDR", "TOKEN@ADDR"};
  for (const CLI::Option* option : app.get_options()) {
    if (std::ranges::find(kOtherTypes, option->get_type_name()) != std::end(kOtherTypes)) continue;
    for (const std::string& value : option->results()) {
      const std::size_t at = base::FindInvalidUtf8(value);
      if (at == std::string_view::npos) continue;
      return WithNextStep(
          absl::InvalidArgumentError(fmt::format("{}: byte {} of {} (0x{:02x}) is not UTF-8 text", option->get_name(),
                                                 at + 1, base::Quoted(value), static_cast<unsigned char>(value[at]))),
          "write it in UTF-8; in a terminal `locale charmap` says what is written there");
    }
  }
  return absl::OkStatus();
}

void AddConnectionOptions(CLI::App* app, ConnectionFlags* flags) {
  app->add_option(kCoordinatorFlag, flags->coordinator,
                  fmt::format("Coordinator, HOST:PORT or unix:/PATH; '{}' for this machine", kLocalCoordinator))
      ->type_name("ADDR")
      ->group("Connection");
  app->add_flag(kInsecureFlag, flags->insecure, "Accept plain text to other machines")->group("Connection");
}

}  // namespace

std::string FullName(const CLI::App& app) {
  return app.get_parent() == nullptr ? app.get_name() : FullName(*app.get_parent()) + " " + app.get_name();
}

void AddConnectionFlags(CLI::App* command, ConnectionFlags* flags) {
  AddConnectionOptions(command, flags);
  // What was written before the command; the nearer word counts.
  command->final_callback([command, flags] {
    for (const CLI::App* app = command->get_parent(); app != nullptr; app = app->get_parent()) {
      if (const CLI::Option* option = app->get_option_no_throw(kCoordinatorFlag);
          option != nullptr && flags->coordinator.empty() && option->count() > 0) {
        flags->coordinator = option->as<std::string>();
      }
      if (const CLI::Option* option = app->get_option_no_throw(kInsecureFlag);
          option != nullptr && option->count() > 0) {
        flags->insecure = true;
      }
    }
  });
}

void AddOutputFlag(CLI::App* command, std::string* text) {
  command->add_option("--output", *text, "table, json or csv (default table)")->type_name("FORM");
}

absl::Status RequireArgument(bool given, const std::string& what, const std::string& example) {
  if (given) return absl::OkStatus();
  return WithNextStep(absl::InvalidArgumentError(fmt::format("{} is missing", what)), example);
}

CommandTree::CommandTree(std::string name, std::string description) : root_(std::move(description), std::move(name)) {
  root_.allow_extras();
  // One command a line. Without this, whatever stands behind it and is the name of a command would be one.
  root_.require_subcommand(0, 1);
  root_.get_formatter()->label("SUBCOMMAND", "COMMAND");
  root_.get_formatter()->label("Subcommands", "Commands");
  root_.get_formatter()->label("Options", "Flags");
  root_.get_formatter()->label("OPTIONS", "FLAGS");
  AddConnectionOptions(&root_, &before_command_);
  root_.footer(
      "\nWithout --coordinator, BALLAST_COORDINATOR or a configuration file, commands work on this machine alone.\n"
      "`ballast COMMAND --help` has the flags of a command and examples.");
}

CLI::App* CommandTree::AddGroup(const std::string& name, const std::string& description) {
  CLI::App* group = AddLocalGroup(name, description);
  AddConnectionOptions(group, &before_command_);
  return group;
}

CLI::App* CommandTree::AddLocalGroup(const std::string& name, const std::string& description) {
  return Add(nullptr, name, description, {}, nullptr);
}

CLI::App* CommandTree::Add(CLI::App* parent, const std::string& name, const std::string& description,
                           const std::vector<std::string>& examples, RunCommand run) {
  CLI::App* command = (parent == nullptr ? &root_ : parent)->add_subcommand(name, description);
  // What is left over is reported here, with the nearest names; CLI11 alone would only say that it is unexpected.
  command->allow_extras();
  command->require_subcommand(0, 1);
  command->footer(Examples(examples));
  if (run) commands_[command] = std::move(run);
  return command;
}

void CommandTree::TakeCommandLine(const CLI::App* command, std::optional<std::vector<std::string>>* command_line) {
  command_lines_[command] = command_line;
}

void CommandTree::CutCommandLine(std::vector<std::string>* arguments) const {
  const auto dashes = std::find(arguments->begin(), arguments->end(), "--");
  if (dashes == arguments->end()) return;
  const CLI::App* named = &root_;
  for (auto argument = arguments->begin(); argument != dashes; ++argument) {
    const std::vector<std::string> names = CommandNames(*named);
    if (std::find(names.begin(), names.end(), *argument) != names.end()) named = named->get_subcommand(*argument);
  }
  const auto taken = command_lines_.find(named);
  if (taken == command_lines_.end()) return;
  taken->second->emplace(std::next(dashes), arguments->end());
  arguments->erase(dashes, arguments->end());
}

const CLI::App& CommandTree::Deepest() const {
  const CLI::App* app = &root_;
  while (!app->get_subcommands().empty()) app = app->get_subcommands().front();
  return *app;
}

absl::Status CommandTree::CheckExtras(const CLI::App& app) const {
  std::vector<std::string> extras = app.remaining();
  std::erase(extras, "--");
  if (extras.empty()) return absl::OkStatus();
  const auto flag =
      std::find_if(extras.begin(), extras.end(), [](const std::string& text) { return text.starts_with("-"); });
  const std::vector<std::string> commands = CommandNames(app);
  if (extras.front().starts_with("-") || commands.empty()) {
    if (flag != extras.end()) {
      const std::string name = flag->substr(0, flag->find('='));
      return UsageError(fmt::format("{} has no flag '{}'", FullName(app), name),
                        config::DidYouMean(name, FlagNames(app)), app);
    }
    return UsageError(fmt::format("{} does not take '{}'", FullName(app), extras.front()), "", app);
  }
  std::string near = config::DidYouMean(extras.front(), commands);
  if (near.empty()) near = "there are " + Joined(commands);
  return UsageError(fmt::format("{} has no command '{}'", FullName(app), extras.front()), near, app);
}

absl::StatusOr<ExitCode> CommandTree::Dispatch(Context& context) {
  for (const CLI::App* app = &root_; app != nullptr;) {
    BALLAST_RETURN_IF_ERROR(CheckExtras(*app));
    BALLAST_RETURN_IF_ERROR(CheckText(*app));
    app = app->get_subcommands().empty() ? nullptr : app->get_subcommands().front();
  }
  const CLI::App& named = Deepest();
  if (&named == &root_) {
    context.out << root_.help();
    return ExitCode::kDone;
  }
  const auto command = commands_.find(&named);
  if (command == commands_.end()) {
    return UsageError(fmt::format("{} needs a command: {}", FullName(named), Joined(CommandNames(named))), "", named);
  }
  return command->second(context);
}

ExitCode CommandTree::Execute(const std::vector<std::string>& arguments, Context& context) {
  const auto fail = [&context](const absl::Status& status) {
    const ExitCode code = ExitCodeOf(status);
    // Whoever pressed Ctrl+C knows why it ended.
    if (code != ExitCode::kInterrupted) context.err << FormatError(status) << std::flush;
    return code;
  };
  std::vector<std::string> parsed = arguments;
  CutCommandLine(&parsed);
  try {
    // CLI11 takes the arguments from the back.
    root_.parse(std::vector<std::string>(parsed.rbegin(), parsed.rend()));
  } catch (const CLI::CallForHelp&) {
    context.out << root_.help();
    return ExitCode::kDone;
  } catch (const CLI::ArgumentMismatch& error) {
    return fail(UsageError(ExplainMismatch(error), "", Deepest()));
  } catch (const CLI::ParseError& error) {
    return fail(UsageError(error.what(), "", Deepest()));
  }
  const absl::StatusOr<ExitCode> result = Dispatch(context);
  return result.ok() ? *result : fail(result.status());
}

}  // namespace ballast::cli

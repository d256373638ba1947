// ballast devices: list, show, label, drain, resume, remove, wait.
#include <chrono>
#include <memory>

#include "cli/commands.h"
#include "cli/device_flags.h"
#include "cli/error_text.h"
#include "cli/paging.h"
#include "cli/render/details.h"
#include "cli/render/list_fields.h"
#include "common/base/status.h"
#include "common/base/text.h"
#include "common/base/units.h"

namespace ballast::cli {
namespace {

constexpr char kFindDevices[] = "ballast devices list";
constexpr char kLabelRule[] =
    "a label such as class=mini-pc: up to 128 bytes on either side, no space, comma or equals sign in the first part, "
    "no "
    "comma in the second; at most 64 labels a device";
constexpr std::chrono::milliseconds kWaitPoll(10);

struct DevicesFlags {
  ConnectionFlags connection;
  std::string output;
  std::string limit;
  std::vector<std::string> on;
  std::string device_id;
  std::vector<std::string> changes;
  std::string timeout;
};

absl::StatusOr<ExitCode> PrintDevice(const absl::StatusOr<v1::Device>& device, OutputFormat output, Context& context) {
  if (!device.ok()) return WithNextStep(device.status(), kFindDevices);
  if (output == OutputFormat::kJson) {
    PrintJson(*device, context);
  } else {
    PrintRecords(std::vector<v1::Device>{*device}, DeviceFields(), output, context);
  }
  return ExitCode::kDone;
}

absl::StatusOr<ExitCode> ListDevices(const DevicesFlags& flags, Context& context) {
  BALLAST_ASSIGN_OR_RETURN(const OutputFormat output, ParseOutputFormat(flags.output));
  BALLAST_ASSIGN_OR_RETURN(const std::uint32_t limit, ParseLimit(flags.limit));
  v1::ListDevicesRequest request;
  BALLAST_ASSIGN_OR_RETURN(const auto labels, ParseLabels(flags.on));
  request.mutable_labels()->insert(labels.begin(), labels.end());
  BALLAST_ASSIGN_OR_RETURN(const auto session, Session::Open(context, flags.connection, Session::Use::kHistory));
  BALLAST_ASSIGN_OR_RETURN(const v1::ListDevicesResponse response,
                           ListPages(&v1::DeviceService::Stub::ListDevices, request,
                                     &v1::ListDevicesResponse::mutable_devices, limit, *session, context));
  if (output == OutputFormat::kJson) {
    PrintJson(response, context);
  } else {
    PrintRecords(response.devices(), DeviceFields(), output, context);
  }
  if (response.devices().empty() && session->local() && flags.on.empty()) {
    context.err << "in local mode this machine appears with the first job, for instance ballast simple --mode burst "
                   "--target 50\n";
  }
  return ExitCode::kDone;
}

// One call that names a device and answers with it.
template <typename Request>
absl::StatusOr<ExitCode> CallForDevice(grpc::Status (v1::DeviceService::Stub::*method)(grpc::ClientContext*,
                                                                                       const Request&, v1::Device*),
                                       Request request, const std::string& verb, const DevicesFlags& flags,
                                       Context& context) {
  BALLAST_ASSIGN_OR_RETURN(const OutputFormat output, ParseOutputFormat(flags.output));
  BALLAST_RETURN_IF_ERROR(
      RequireArgument(!flags.device_id.empty(), "the device",
                      fmt::format("ballast devices {} DEVICE; ballast devices list shows them", verb)));
  BALLAST_ASSIGN_OR_RETURN(const auto session, Session::Open(context, flags.connection, Session::Use::kHistory));
  request.set_device_id(flags.device_id);
  absl::StatusOr<v1::Device> device = session->Call(method, request);
  if (verb == "label" && absl::IsInvalidArgument(device.status())) device = WithNextStep(device.status(), kLabelRule);
  if (verb == "show" && output == OutputFormat::kTable && device.ok()) {
    context.out << DeviceDetails(*device);
    return ExitCode::kDone;
  }
  return PrintDevice(device, output, context);
}

absl::StatusOr<ExitCode> LabelDevice(const DevicesFlags& flags, Context& context) {
  v1::LabelDeviceRequest request;
  BALLAST_RETURN_IF_ERROR(RequireArgument(!flags.changes.empty(), "the label",
                                          "ballast devices label DEVICE class=mini-pc, or class- to remove it"));
  for (const std::string& change : flags.changes) {
    const std::size_t equals = change.find('=');
    if (equals != std::string::npos && equals > 0) {
      (*request.mutable_set())[change.substr(0, equals)] = change.substr(equals + 1);
    } else if (equals == std::string::npos && change.size() > 1 && change.ends_with('-')) {
      request.add_remove(change.substr(0, change.size() - 1));
    } else {
      return WithNextStep(
          absl::InvalidArgumentError(fmt::format("{} neither sets nor removes a label", base::Quoted(change))),
          "LABEL=VALUE to set, LABEL- to remove");
    }
  }
  return CallForDevice(&v1::DeviceService::Stub::LabelDevice, request, "label", flags, context);
}

absl::StatusOr<ExitCode> WaitForDevice(const DevicesFlags& flags, Context& context) {
  BALLAST_ASSIGN_OR_RETURN(const OutputFormat output, ParseOutputFormat(flags.output));
  BALLAST_RETURN_IF_ERROR(
      RequireArgument(!flags.device_id.empty(), "the device", "ballast devices wait DEVICE --timeout 30s"));
  const auto timeout = base::ParseDuration(flags.timeout.empty() ? "60s" : flags.timeout);
  if (!timeout.ok()) {
    return WithNextStep(
        absl::InvalidArgumentError(fmt::format("--timeout: {}", std::string(timeout.status().message()))),
        "--timeout 30s");
  }
  BALLAST_ASSIGN_OR_RETURN(const auto session, Session::Open(context, flags.connection, Session::Use::kHistory));
  if (session->owner()) {
    return WithNextStep(absl::InvalidArgumentError("in local mode no device connects by itself"), "--coordinator ADDR");
  }
  v1::GetDeviceRequest request;
  request.set_device_id(flags.device_id);
  const std::chrono::nanoseconds deadline = context.clock.Monotonic() + *timeout;
  while (true) {
    const auto device = session->Call(&v1::DeviceService::Stub::GetDevice, request);
    if (!device.ok() && !absl::IsNotFound(device.status())) return device.status();
    const bool connected =
        device.ok() && device->state() != v1::Device::OFFLINE && device->state() != v1::Device::STATE_UNSPECIFIED;
    if (connected) return PrintDevice(device, output, context);
    if (context.clock.Monotonic() >= deadline) {
      const std::string problem = fmt::format("device {} {} within {}", base::Quoted(flags.device_id),
                                              device.ok() ? "is offline and does not connect" : "does not appear",
                                              base::FormatDuration(*timeout));
      return WithNextStep(device.ok() ? absl::UnavailableError(problem) : absl::NotFoundError(problem),
                          "look at the output of ballast-worker on the device");
    }
    if (context.interrupts.WaitFor(kWaitPoll)) return absl::CancelledError("interrupted");
  }
}

}  // namespace

void AddDevicesCommands(CommandTree& tree) {
  const auto flags = std::make_shared<DevicesFlags>();
  CLI::App* group = tree.AddGroup("devices", "The machines: list, show, label, drain, resume, remove, wait for one.");
  const auto add = [&](const char* name, const char* description, const std::vector<std::string>& examples,
                       RunCommand run) {
    CLI::App* command = tree.Add(group, name, description, examples, std::move(run));
    if (std::string_view(name) != "list")
      command->add_option("device", flags->device_id, "The device")->type_name("DEVICE");
    AddOutputFlag(command, &flags->output);
    AddConnectionFlags(command, &flags->connection);
    return command;
  };
  CLI::App* list = add("list", "Devices, ordered by identifier.",
                       {"ballast devices list", "ballast devices list --on class=mini-pc --output json"},
                       [flags](Context& context) { return ListDevices(*flags, context); });
  list->add_option("--on,--label", flags->on, "Only devices with these labels")
      ->type_name("LABEL=VALUE")
      ->allow_extra_args(false);
  list->add_option("--limit", flags->limit, fmt::format("Most entries, 0 for all (default {})", kDefaultLimit))
      ->type_name("N");

  add("show", "One device: facts, labels, what it can do and what it lacks.", {"ballast devices show d-0123456789"},
      [flags](Context& context) {
        return CallForDevice(&v1::DeviceService::Stub::GetDevice, v1::GetDeviceRequest(), "show", *flags, context);
      });
  CLI::App* label =
      add("label", "Set and remove labels.",
          {"ballast devices label d-0123456789 class=mini-pc site=lab", "ballast devices label d-0123456789 site-"},
          [flags](Context& context) { return LabelDevice(*flags, context); });
  label->add_option("changes", flags->changes, "LABEL=VALUE sets, LABEL- removes")->type_name("CHANGE");
  add("drain", "Give a device no new runs; the one that is going on ends by itself.",
      {"ballast devices drain d-0123456789"}, [flags](Context& context) {
        return CallForDevice(&v1::DeviceService::Stub::DrainDevice, v1::DrainDeviceRequest(), "drain", *flags, context);
      });
  add("resume", "Give a drained device, or one in quarantine, runs again.", {"ballast devices resume d-0123456789"},
      [flags](Context& context) {
        return CallForDevice(&v1::DeviceService::Stub::ResumeDevice, v1::ResumeDeviceRequest(), "resume", *flags,
                             context);
      });
  add("remove", "Forget an offline device; its runs stay in the history.", {"ballast devices remove d-0123456789"},
      [flags](Context& context) {
        return CallForDevice(&v1::DeviceService::Stub::RemoveDevice, v1::RemoveDeviceRequest(), "remove", *flags,
                             context);
      });
  CLI::App* wait = add("wait", "Wait until a device is connected, for scripts that start one.",
                       {"ballast devices wait d-0123456789 --timeout 30s"},
                       [flags](Context& context) { return WaitForDevice(*flags, context); });
  wait->add_option("--timeout", flags->timeout, "How long (default 60s)")->type_name("TIME");
}

}  // namespace ballast::cli

// What the worker says of its device: hardware, kernel, limits and what it can do.
#pragma once

#include <string>
#include <string_view>

#include "ballast/v1/device.pb.h"
#include "worker/environment/cgroup_home.h"

namespace ballast::agent {

// A limitation that begins so says why environment profiles are refused.
inline constexpr std::string_view kNoEnvironments = "No environment profile can be applied";

// Reads the facts. What cannot be read is left empty, and where it matters a limitation says why. Capabilities are
// probed, not assumed: the probe of oom_score_adj leaves nothing behind. `root` is where /proc, /sys,
// /etc and /dev are found; tests lay out a tree of their own (processes' own rights are probed on the real machine only
// when `root` is "/"). May block for some milliseconds.
[[nodiscard]] v1::DeviceFacts ReadDeviceFacts(const std::string& root = "/");

// Adds what was found out about this process's place among the cgroups, and its runners'.
void AddFactsOf(const environment::CgroupHome& home, v1::DeviceFacts* facts);

// Adds whether `llama_server` (a path, or a name that is looked for on PATH) is there: the capability
// RUNTIME_LLAMA_CPP, or a limitation that says what to do.
void AddRuntimeFacts(const std::string& llama_server, v1::DeviceFacts* facts);

}  // namespace ballast::agent

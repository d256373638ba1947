// What the guard compares its readings with.
#pragma once

#include <chrono>

#include "ballast/v1/job.pb.h"

namespace ballast::guard {

// A GuardSpec with everything that follows from the load filled in.
struct Thresholds {
  // In percent of the limit: available memory below which the guard acts, and what it asks for when it asks the load to
  // become smaller.
  double min_available_percent = 2.5;
  double clear_available_percent = 6;
  // Whether free swap counts as available: a load that is meant to make tasks stall does so where memory is full and
  // swap is not.
  bool free_swap_counts = false;
  // Whether the load can give some of its memory back and go on. One that cannot is asked to release all.
  bool can_shrink = true;
  // Whether it can be asked to release everything, and be killed. A program that watches itself cannot: it is asked to
  // become smaller again and again, however little it holds.
  bool can_end = true;
  // Share of time in which every task stalls, in percent: above which the guard acts; and from which on rates count.
  double max_psi_full_percent = 40;
  double stalling_percent = 10;
  double max_swap_in_bytes_per_second = 32.0 * 1024 * 1024;
  double max_refault_bytes_per_second = 32.0 * 1024 * 1024;
  std::chrono::nanoseconds max_delay = std::chrono::seconds(1);
  // How long stalls and rates must last.
  std::chrono::nanoseconds patience = std::chrono::seconds(2);
};

// `spec` has its defaults. `floor_percent` is the available memory that the load leaves by itself (0 where it has no
// such floor), `asked_stall_percent` the stall that it is meant to make (0 where none is): that much stall comes on top
// of the spec's maximum, and rates do not count against a load as long as it does not make more than it is meant to.
[[nodiscard]] Thresholds ThresholdsOf(const v1::GuardSpec& spec, double floor_percent, double asked_stall_percent);

}  // namespace ballast::guard

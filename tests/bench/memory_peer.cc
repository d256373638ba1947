// The plain ways to use memory, to measure the product against. Shares no code with it.
//
//   bench_memory_peer memset BYTES               fills BYTES once and prints the seconds it took
//   bench_memory_peer neighbour BYTES SECONDS    until it is ended: grows to BYTES and shrinks to nothing, once in
//   SECONDS
#include <sys/mman.h>
#include <time.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>

namespace {

// At least this much moves at once: a neighbour that moved single pages would be measured by its system calls.
constexpr std::size_t kStrideBytes = 1U << 20U;

double Now() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

char* Map(std::size_t bytes) {
  void* const address = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (address == MAP_FAILED) {
    std::perror("error: mmap");
    std::exit(1);
  }
  ::madvise(address, bytes, MADV_NOHUGEPAGE);
  return static_cast<char*>(address);
}

int Memset(std::size_t bytes) {
  char* const memory = Map(bytes);
  const double begun = Now();
  for (std::size_t offset = 0; offset < bytes; offset += kStrideBytes) {
    std::memset(memory + offset, static_cast<int>(offset / kStrideBytes) | 1, std::min(kStrideBytes, bytes - offset));
  }
  std::printf("%.6f\n", Now() - begun);
  return 0;
}

int Neighbour(std::size_t bytes, double period) {
  char* const memory = Map(bytes);
  const double begun = Now();
  std::size_t held = 0;
  while (true) {
    const double phase = std::fmod(Now() - begun, period) / period;
    const double height = 1 - std::fabs(2 * phase - 1);
    const auto wanted = static_cast<std::size_t>(height * static_cast<double>(bytes)) / kStrideBytes * kStrideBytes;
    if (wanted > held) {
      std::memset(memory + held, 1, wanted - held);
    } else if (wanted < held) {
      ::madvise(memory + wanted, held - wanted, MADV_DONTNEED);
    }
    held = wanted;
    const timespec pause{.tv_sec = 0, .tv_nsec = 10'000'000};
    ::nanosleep(&pause, nullptr);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view mode = argc > 1 ? argv[1] : "";
  const std::size_t bytes = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 0;
  const double period = argc > 3 ? std::strtod(argv[3], nullptr) : 0;
  if (mode == "memset" && bytes > 0) return Memset(bytes);
  if (mode == "neighbour" && bytes > 0 && period > 0) return Neighbour(bytes, period);
  std::fprintf(stderr, "error: bench_memory_peer memset BYTES | neighbour BYTES SECONDS\n");
  return 2;
}

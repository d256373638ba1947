// Tells the library where the package lies that a program was built with. Included by the headers that need it.
#pragma once

namespace ballast::memory {

// The runner of the package. `path` is not copied. Thread-safe. Always true.
bool NoteInstalledRunner(const char* path);

#ifdef BALLAST_INSTALLED_RUNNER  // by the CMake package
namespace {
[[maybe_unused]] const bool installed_runner_noted = NoteInstalledRunner(BALLAST_INSTALLED_RUNNER);
}  // namespace
#endif

}  // namespace ballast::memory

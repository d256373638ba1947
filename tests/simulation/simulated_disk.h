// A disk that loses exactly what a disk may lose.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "tests/simulation/random.h"
#include "worker/agent/spool_disk.h"

namespace ballast::simulation {

// Files in memory with what of them would survive a power cut. Content survives once it was synced with the file; the
// making, renaming and removing of files and directories survives in the order in which it was done, up to any point
// after the last sync of a directory. What was being written when the power went may be there whole, in part, as zeros,
// or not. Not thread-safe.
class SimulatedDisk final : public agent::SpoolDisk {
 public:
  explicit SimulatedDisk(Random* random) : random_(random) {}

  absl::Status EnsureDirectory(const std::filesystem::path& path) override;
  absl::Status MakeDirectory(const std::filesystem::path& path) override;
  absl::Status SyncDirectory(const std::filesystem::path& path) override;
  absl::StatusOr<std::vector<std::string>> List(const std::filesystem::path& path) override;
  absl::StatusOr<std::string> Read(const std::filesystem::path& path, std::size_t max_bytes) override;
  absl::StatusOr<std::string> ReadAt(const std::filesystem::path& path, std::uint64_t offset,
                                     std::size_t size) override;
  absl::Status WriteFrom(const std::filesystem::path& path, std::uint64_t offset, std::string_view data) override;
  absl::Status Remove(const std::filesystem::path& path) override;
  absl::Status Rename(const std::filesystem::path& from, const std::filesystem::path& to) override;
  std::vector<Aside> ListByAge(const std::filesystem::path& path) override;

  // Nothing more can be written until there is room again.
  void SetFull(bool full) { full_ = full; }
  // Room for so many bytes of files; 0: for any number.
  void SetCapacity(std::size_t bytes) { capacity_bytes_ = bytes; }
  // Whoever writes dies in the middle of the `writes`-th change from now on: it is carried out in part, and everything
  // fails from then on.
  void StopAfter(std::uint64_t writes) { writes_left_ = writes; }
  // That has happened. The process must be taken to be dead.
  [[nodiscard]] bool stopped() const { return stopped_; }
  // The process is dead; what the kernel has is there for the next one.
  void ProcessDied();
  // The power went.
  void PowerCut();
  // Another disk was put in.
  void Replace();

 private:
  struct File {
    std::string current;
    std::string durable;
  };
  enum class Change { kMake, kRemove, kRename };
  struct Entry {
    Change change = Change::kMake;
    std::string path;
    std::string to;
    std::uint64_t file = 0;  // 0: a directory
  };
  using Tree = std::map<std::string, std::uint64_t>;

  // Counts a change; false where it is the one in which the process dies.
  bool Begin();
  [[nodiscard]] absl::Status Problem() const;
  [[nodiscard]] static absl::Status NoSpace();
  // Whether a file that ends here fits, beside everything else.
  [[nodiscard]] bool Fits(const File& file, std::size_t end) const;
  void Apply(const Entry& entry, Tree* tree) const;
  void Do(Entry entry);
  [[nodiscard]] static bool IsBelow(const std::string& path, const std::string& directory);

  Random* random_;
  std::map<std::uint64_t, File> files_;
  Tree current_;
  Tree durable_;
  std::vector<Entry> journal_;  // changes of the tree that a power cut may undo, from the last to any
  std::uint64_t last_file_ = 0;
  std::uint64_t writes_left_ = 0;  // 0: no end
  std::size_t capacity_bytes_ = 0;
  bool full_ = false;
  bool stopped_ = false;
};

}  // namespace ballast::simulation

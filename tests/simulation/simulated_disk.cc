#include "tests/simulation/simulated_disk.h"

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "tests/simulation/mutation.h"

namespace ballast::simulation {
namespace {

absl::Status NoSuchFile(const std::filesystem::path& path) {
  return absl::NotFoundError(path.string());
}

std::string After(std::string before, std::uint64_t offset, std::string_view data) {
  before.resize(offset, '\0');
  return before.append(data);
}

}  // namespace

absl::Status SimulatedDisk::NoSpace() {
  return absl::UnavailableError("no space left on device");
}

bool SimulatedDisk::IsBelow(const std::string& path, const std::string& directory) {
  return path.size() > directory.size() && path.starts_with(directory) && path[directory.size()] == '/';
}

absl::Status SimulatedDisk::Problem() const {
  if (stopped_) return absl::AbortedError("the process is dead");
  if (full_) return NoSpace();
  return absl::OkStatus();
}

bool SimulatedDisk::Begin() {
  if (writes_left_ == 0 || --writes_left_ > 0) return true;
  stopped_ = true;
  return false;
}

void SimulatedDisk::Apply(const Entry& entry, Tree* tree) const {
  switch (entry.change) {
    case Change::kMake:
      (*tree)[entry.path] = entry.file;
      break;
    case Change::kRemove:
      tree->erase(entry.path);
      break;
    case Change::kRename: {
      Tree moved;
      for (auto it = tree->lower_bound(entry.path); it != tree->end();) {
        if (it->first != entry.path && !IsBelow(it->first, entry.path)) {
          if (!it->first.starts_with(entry.path)) break;
          ++it;
          continue;
        }
        moved[entry.to + it->first.substr(entry.path.size())] = it->second;
        it = tree->erase(it);
      }
      tree->merge(moved);
      break;
    }
  }
}

void SimulatedDisk::Do(Entry entry) {
  Apply(entry, &current_);
  journal_.push_back(std::move(entry));
}

absl::Status SimulatedDisk::EnsureDirectory(const std::filesystem::path& path) {
  if (stopped_) return Problem();
  if (current_.contains(path.string())) return absl::OkStatus();
  return MakeDirectory(path);
}

absl::Status SimulatedDisk::MakeDirectory(const std::filesystem::path& path) {
  if (absl::Status status = Problem(); !status.ok()) return status;
  if (current_.contains(path.string())) return absl::OkStatus();
  if (!Begin()) return Problem();
  Do({Change::kMake, path.string(), {}, 0});
  return absl::OkStatus();
}

absl::Status SimulatedDisk::SyncDirectory(const std::filesystem::path& path) {
  if (stopped_) return Problem();
  if (!current_.contains(path.string())) return NoSuchFile(path);
  if (!Begin()) return Problem();
  for (const Entry& entry : journal_) Apply(entry, &durable_);
  journal_.clear();
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::string>> SimulatedDisk::List(const std::filesystem::path& path) {
  const std::string directory = path.string();
  if (!current_.contains(directory)) return NoSuchFile(path);
  std::vector<std::string> names;
  for (auto it = current_.upper_bound(directory); it != current_.end() && it->first.starts_with(directory); ++it) {
    if (!IsBelow(it->first, directory)) continue;
    std::string name = it->first.substr(directory.size() + 1);
    if (name.find('/') == std::string::npos) names.push_back(std::move(name));
  }
  std::ranges::sort(names);
  return names;
}

absl::StatusOr<std::string> SimulatedDisk::Read(const std::filesystem::path& path, std::size_t /*max_bytes*/) {
  return ReadAt(path, 0, std::string::npos);
}

absl::StatusOr<std::string> SimulatedDisk::ReadAt(const std::filesystem::path& path, std::uint64_t offset,
                                                  std::size_t size) {
  const auto entry = current_.find(path.string());
  if (entry == current_.end() || entry->second == 0) return NoSuchFile(path);
  const std::string& content = files_.at(entry->second).current;
  return offset >= content.size() ? std::string() : content.substr(offset, size);
}

bool SimulatedDisk::Fits(const File& file, std::size_t end) const {
  if (capacity_bytes_ == 0 || end <= file.current.size()) return true;
  std::size_t used = end - file.current.size();
  for (const auto& [path, number] : current_) {
    if (number != 0) used += files_.at(number).current.size();
  }
  return used <= capacity_bytes_;
}

absl::Status SimulatedDisk::WriteFrom(const std::filesystem::path& path, std::uint64_t offset, std::string_view data) {
  if (stopped_) return Problem();
  const std::string name = path.string();
  if (!current_.contains(path.parent_path().string())) return NoSuchFile(path);
  auto entry = current_.find(name);
  if (entry == current_.end()) {
    if (full_) return Problem();
    const bool goes_on = Begin();
    files_[++last_file_] = {};
    Do({Change::kMake, name, {}, last_file_});
    if (!goes_on) return Problem();
    entry = current_.find(name);
  }
  File& file = files_.at(entry->second);
  if (!data.empty() && (full_ || !Fits(file, offset + data.size()))) {
    // As much as there was room for.
    file.current = After(file.current, offset, data.substr(0, random_->Below(data.size() + 1)));
    return NoSpace();
  }
  if (!Begin()) {
    file.current = After(file.current, offset, data.substr(0, random_->Below(data.size() + 1)));
    return Problem();
  }
  file.current = After(std::move(file.current), offset, data);
  if (!Mutated("spool_not_synced")) file.durable = file.current;
  return absl::OkStatus();
}

absl::Status SimulatedDisk::Remove(const std::filesystem::path& path) {
  if (stopped_) return Problem();
  const std::string name = path.string();
  std::vector<std::string> gone;
  for (auto it = current_.lower_bound(name); it != current_.end() && it->first.starts_with(name); ++it) {
    if (it->first == name || IsBelow(it->first, name)) gone.push_back(it->first);
  }
  for (auto it = gone.rbegin(); it != gone.rend(); ++it) {
    if (!Begin()) return Problem();
    Do({Change::kRemove, *it, {}, 0});
  }
  return absl::OkStatus();
}

absl::Status SimulatedDisk::Rename(const std::filesystem::path& from, const std::filesystem::path& to) {
  if (stopped_) return Problem();
  if (!current_.contains(from.string())) return NoSuchFile(from);
  if (!Begin()) return Problem();
  Do({Change::kRename, from.string(), to.string(), 0});
  return absl::OkStatus();
}

std::vector<agent::SpoolDisk::Aside> SimulatedDisk::ListByAge(const std::filesystem::path& path) {
  std::vector<Aside> all;
  const absl::StatusOr<std::vector<std::string>> names = List(path);
  if (!names.ok()) return all;
  for (const std::string& name : *names) all.push_back({name, {}, 1});
  return all;
}

void SimulatedDisk::ProcessDied() {
  stopped_ = false;
  writes_left_ = 0;
}

void SimulatedDisk::PowerCut() {
  ProcessDied();
  const std::uint64_t kept = random_->Below(journal_.size() + 1);
  for (std::uint64_t i = 0; i < kept; ++i) Apply(journal_[i], &durable_);
  journal_.clear();
  current_ = durable_;
  std::map<std::uint64_t, File> left;
  for (const auto& [path, number] : current_) {
    if (number == 0) continue;
    File& file = left[number] = std::move(files_[number]);
    if (file.current != file.durable) {
      switch (random_->Below(4)) {
        case 0:
          break;  // all of it had reached the disk
        case 1:
          file.current = file.durable;
          break;
        case 2:
          file.current.resize(random_->Below(file.current.size() + 1));
          if (file.durable.size() > file.current.size() && file.durable.starts_with(file.current))
            file.current = file.durable;
          break;
        default: {  // the length had, the content had not
          const std::size_t same = static_cast<std::size_t>(
              std::mismatch(file.current.begin(), file.current.end(), file.durable.begin(), file.durable.end()).first -
              file.current.begin());
          std::fill(file.current.begin() + static_cast<std::ptrdiff_t>(same), file.current.end(), '\0');
        }
      }
      file.durable = file.current;
    }
  }
  files_ = std::move(left);
}

void SimulatedDisk::Replace() {
  *this = SimulatedDisk(random_);
}

}  // namespace ballast::simulation

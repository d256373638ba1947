#include "common/gguf/synthetic_model.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include "common/base/file.h"
#include "common/base/status.h"
#include "common/base/units.h"
#include "common/gguf/byte_source.h"
#include "common/gguf/model_description.h"
#include "common/gguf/synthetic_blocks.h"
#include "common/gguf/synthetic_header.h"

namespace ballast::gguf {
namespace {

constexpr std::uint64_t kPieceBytes = 4U << 20U;

// Some blocks of one tensor, written at once, with the padding after the tensor's last ones.
struct Piece {
  const Tensor* tensor;
  std::uint64_t begin;  // in the tensor
  std::uint64_t weight_bytes;
  std::uint64_t file_offset;
  std::uint64_t size_bytes;  // with the padding

  [[nodiscard]] std::uint64_t end() const { return file_offset + size_bytes; }
};

std::vector<Piece> PiecesOf(const SyntheticModel& model) {
  std::vector<Piece> pieces;
  const std::vector<Tensor>& tensors = model.plan().tensors;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const Tensor& tensor = tensors[i];
    const std::uint64_t start = model.header().size() + tensor.offset_bytes;
    const std::uint64_t next =
        i + 1 < tensors.size() ? model.header().size() + tensors[i + 1].offset_bytes : model.file_size_bytes();
    const std::uint64_t step = kBlocksInStep * InfoOf(tensor.type).block_bytes;
    const std::uint64_t most = kPieceBytes / step * step;
    for (std::uint64_t begin = 0; begin < tensor.size_bytes; begin += most) {
      const std::uint64_t weights = std::min(most, tensor.size_bytes - begin);
      const bool last = begin + weights == tensor.size_bytes;
      pieces.push_back({&tensor, begin, weights, start + begin, last ? next - start - begin : weights});
    }
  }
  return pieces;
}

void Fill(const Piece& piece, std::uint64_t seed, std::vector<char>* buffer) {
  buffer->resize(piece.size_bytes);
  std::fill(buffer->begin() + static_cast<std::ptrdiff_t>(piece.weight_bytes), buffer->end(), '\0');
  FillTensor(*piece.tensor, seed, piece.begin, std::span(*buffer).first(piece.weight_bytes));
}

// Makes pieces on several threads and hands them out in their order. A piece waits in one of a fixed number of slots.
class PieceMaker {
 public:
  PieceMaker(std::span<const Piece> pieces, std::uint64_t seed, unsigned threads)
      : pieces_(pieces), seed_(seed), slots_(std::size_t{2} * threads) {
    for (unsigned i = 0; i < threads; ++i) {
      threads_.emplace_back([this](const std::stop_token& stop) { Make(stop); });
    }
  }

  // The content of the next piece; valid until the next call.
  const std::vector<char>& Next() {
    std::unique_lock lock(mutex_);
    if (taken_ > 0) {
      slots_[(taken_ - 1) % slots_.size()].ready = false;
      freed_.notify_all();
    }
    Slot& slot = slots_[taken_++ % slots_.size()];
    made_.wait(lock, [&slot] { return slot.ready; });
    return slot.content;
  }

 private:
  struct Slot {
    std::vector<char> content;
    bool ready = false;
  };

  void Make(const std::stop_token& stop) {
    while (true) {
      std::size_t index = 0;
      {
        std::unique_lock lock(mutex_);
        // A slot is free when the piece that had it before was taken and another asked for since.
        if (!freed_.wait(lock, stop, [this] { return begun_ < std::max<std::size_t>(taken_, 1) - 1 + slots_.size(); }))
          return;
        if (begun_ == pieces_.size()) return;
        index = begun_++;
      }
      Slot& slot = slots_[index % slots_.size()];
      Fill(pieces_[index], seed_, &slot.content);
      const std::scoped_lock lock(mutex_);
      slot.ready = true;
      made_.notify_all();
    }
  }

  const std::span<const Piece> pieces_;
  const std::uint64_t seed_;
  std::mutex mutex_;
  std::condition_variable_any freed_;
  std::condition_variable made_;
  std::vector<Slot> slots_;
  std::size_t begun_ = 0;
  std::size_t taken_ = 0;
  std::vector<std::jthread> threads_;
};

bool HasContent(FileByteSource& source, std::uint64_t position, std::span<const char> expected) {
  std::vector<char> found(expected.size());
  const auto size = source.ReadAt(position, found);
  return size.ok() && *size == expected.size() && std::equal(found.begin(), found.end(), expected.begin());
}

// Pieces of `model` that a file has already; nothing where it is not the beginning of this model.
std::optional<std::size_t> PiecesThere(const SyntheticModel& model, std::span<const Piece> pieces,
                                       const std::filesystem::path& path) {
  auto source = FileByteSource::Open(path);
  if (!source.ok() || !HasContent(*source, 0, model.header())) return std::nullopt;
  const std::uint64_t size = source->size_bytes();
  const auto first_missing =
      std::find_if(pieces.begin(), pieces.end(), [size](const Piece& piece) { return piece.end() > size; });
  const auto count = static_cast<std::size_t>(first_missing - pieces.begin());
  if (count == 0) return count;
  // What a crash of the machine loses of a file that only grows is at its end.
  std::vector<char> content;
  Fill(pieces[count - 1], model.seed(), &content);
  if (!HasContent(*source, pieces[count - 1].file_offset, content)) return std::nullopt;
  return count;
}

// FILE.partial: opened, locked and removed again unless it was renamed or is to stay.
class PartialFile {
 public:
  static absl::StatusOr<PartialFile> Open(const std::filesystem::path& path) {
    const std::filesystem::path partial = path.string() + ".partial";
    while (true) {
      BALLAST_ASSIGN_OR_RETURN(base::Fd fd, base::OpenFile(partial, O_RDWR | O_CREAT));
      if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
        if (errno == EWOULDBLOCK) {
          return absl::UnavailableError(fmt::format("another process is writing {}", partial.string()));
        }
        return base::ErrnoStatus(errno, fmt::format("lock {}", partial.string()));
      }
      // Whoever had the lock before may have renamed or removed what was opened here.
      struct stat opened {};
      struct stat named {};
      if (::fstat(fd.get(), &opened) != 0) return base::ErrnoStatus(errno, fmt::format("stat {}", partial.string()));
      if (::stat(partial.c_str(), &named) == 0 && opened.st_ino == named.st_ino && opened.st_dev == named.st_dev) {
        return PartialFile(partial, std::move(fd));
      }
    }
  }
  PartialFile(PartialFile&&) = default;
  PartialFile& operator=(PartialFile&&) = delete;
  ~PartialFile() {
    if (fd_.valid() && !keep_) ::unlink(path_.c_str());
  }

  [[nodiscard]] int fd() const { return fd_.get(); }
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }
  void Keep() { keep_ = true; }

  // Bytes on the disk; more than its size where room was set aside.
  [[nodiscard]] std::uint64_t allocated_bytes() const {
    struct stat status {};
    return ::fstat(fd_.get(), &status) == 0 ? static_cast<std::uint64_t>(status.st_blocks) * 512 : 0;
  }

  // Cuts the file to `size` and goes on writing there.
  [[nodiscard]] absl::Status ContinueAt(std::uint64_t size) {
    if (::ftruncate(fd_.get(), static_cast<off_t>(size)) != 0 ||
        ::lseek(fd_.get(), static_cast<off_t>(size), SEEK_SET) < 0) {
      return base::ErrnoStatus(errno, fmt::format("truncate {}", path_.string()));
    }
    return absl::OkStatus();
  }

  [[nodiscard]] absl::Status Write(std::string_view content) const {
    return base::WithContext(base::WriteAll(fd_.get(), content), path_.string());
  }

  // Makes it durable under its final name.
  [[nodiscard]] absl::Status RenameTo(const std::filesystem::path& path) {
    if (::fsync(fd_.get()) != 0) return base::ErrnoStatus(errno, fmt::format("fsync {}", path_.string()));
    if (::rename(path_.c_str(), path.c_str()) != 0) {
      return base::ErrnoStatus(errno, fmt::format("rename {} to {}", path_.string(), path.string()));
    }
    keep_ = true;
    return base::SyncDirectory(path.has_parent_path() ? path.parent_path() : std::filesystem::path("."));
  }

 private:
  PartialFile(std::filesystem::path path, base::Fd fd) : path_(std::move(path)), fd_(std::move(fd)) {}

  std::filesystem::path path_;
  base::Fd fd_;
  bool keep_ = false;
};

// Refuses where the disk has too little room for what is still to be written, and sets the room aside where the file
// system can do that, so that nobody else takes it meanwhile.
absl::Status Reserve(const PartialFile& file, std::uint64_t size_bytes) {
  struct statvfs disk {};
  if (::fstatvfs(file.fd(), &disk) != 0)
    return base::ErrnoStatus(errno, fmt::format("statvfs {}", file.path().string()));
  const std::uint64_t available = disk.f_bavail * disk.f_frsize;
  const std::uint64_t needed = size_bytes - std::min(size_bytes, file.allocated_bytes());
  const absl::Status too_little = absl::ResourceExhaustedError(
      fmt::format("{}: {} more are needed ({} bytes), and the disk has {} free", file.path().string(),
                  base::FormatBytes(needed), needed, base::FormatBytes(available)));
  if (needed > available) return too_little;
  int result = 0;
  do {
    result = ::fallocate(file.fd(), FALLOC_FL_KEEP_SIZE, 0, static_cast<off_t>(size_bytes));
  } while (result != 0 && errno == EINTR);
  if (result != 0 && (errno == ENOSPC || errno == EDQUOT || errno == EFBIG)) return too_little;
  return absl::OkStatus();
}

absl::Status WritePieces(const SyntheticModel& model, std::span<const Piece> pieces, const WriteOptions& options,
                         const PartialFile& file) {
  const unsigned threads = options.threads > 0 ? options.threads : std::max(1U, std::thread::hardware_concurrency());
  PieceMaker maker(pieces, model.seed(), threads);
  for (const Piece& piece : pieces) {
    if (options.stop.stop_requested()) return absl::CancelledError("interrupted");
    const std::vector<char>& content = maker.Next();
    BALLAST_RETURN_IF_ERROR(file.Write({content.data(), content.size()}));
    if (options.progress) options.progress(piece.end(), model.file_size_bytes());
  }
  return absl::OkStatus();
}

// Runtimes expect the last tensor to be padded like the others.
std::uint64_t DataBytes(const ModelPlan& plan) {
  const Tensor& last = plan.tensors.back();
  return (last.offset_bytes + last.size_bytes + 31) / 32 * 32;
}

}  // namespace

v1::ModelDescription DescribeSyntheticModel(const ModelShape& shape, QuantLevel level) {
  const ModelPlan plan = PlanModel(shape, level);
  return DescribePlan(plan, SyntheticName(shape), SyntheticHeaderBytes(plan) + DataBytes(plan));
}

SyntheticModel::SyntheticModel(const ModelShape& shape, QuantLevel level, std::uint64_t seed)
    : plan_(PlanModel(shape, level)), seed_(seed), header_(SyntheticHeader(plan_, seed)) {
  file_size_bytes_ = header_.size() + DataBytes(plan_);
}

ModelFile SyntheticModel::AsFile() const {
  // The header is read back by the one reader; the data section is not there to be read.
  class PlannedSource : public MemoryByteSource {
   public:
    PlannedSource(std::string_view header, std::uint64_t size) : MemoryByteSource(header), size_(size) {}
    [[nodiscard]] std::uint64_t size_bytes() const override { return size_; }

   private:
    std::uint64_t size_;
  };
  PlannedSource source(header_, file_size_bytes_);
  return ParseModelFile(source).value();
}

absl::StatusOr<WriteResult> WriteSyntheticModel(const SyntheticModel& model, const std::filesystem::path& path,
                                                const WriteOptions& options) {
  const std::vector<Piece> pieces = PiecesOf(model);
  std::error_code error;
  if (std::filesystem::exists(path, error)) {
    if (std::filesystem::is_regular_file(path, error) &&
        std::filesystem::file_size(path, error) == model.file_size_bytes() &&
        PiecesThere(model, pieces, path) == pieces.size()) {
      return WriteResult{.resumed_bytes = model.file_size_bytes()};
    }
    return absl::AlreadyExistsError(fmt::format("{} is there already, and is not this model", path.string()));
  }
  BALLAST_ASSIGN_OR_RETURN(PartialFile file, PartialFile::Open(path));
  const std::optional<std::size_t> there = PiecesThere(model, pieces, file.path());
  if (options.keep_partial || there.value_or(0) > 0) file.Keep();
  WriteResult result;
  if (there) result.resumed_bytes = *there == 0 ? model.header().size() : pieces[*there - 1].end();
  BALLAST_RETURN_IF_ERROR(file.ContinueAt(result.resumed_bytes));
  BALLAST_RETURN_IF_ERROR(Reserve(file, model.file_size_bytes()));
  if (!there) BALLAST_RETURN_IF_ERROR(file.Write(model.header()));
  BALLAST_RETURN_IF_ERROR(WritePieces(model, std::span(pieces).subspan(there.value_or(0)), options, file));
  BALLAST_RETURN_IF_ERROR(file.RenameTo(path));
  result.written_bytes = model.file_size_bytes() - result.resumed_bytes;
  return result;
}

}  // namespace ballast::gguf

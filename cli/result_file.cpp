// By the system's own calls: the order write, fsync, rename, fsync of the folder is what makes a file whole.
#include "result_file.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <filesystem>

#include "interrupt.hpp"
#include "qjl/error.hpp"

namespace qjl::cli {
namespace {

namespace fs = std::filesystem;

constexpr int kMostLinks = 40;          // as the system allows
constexpr int kMostTries = 100;         // names that are taken
constexpr mode_t kMode = 0666;          // of a new file, less what the process's mask takes
constexpr mode_t kPermissions = 07777;  // of an old one, kept

[[noreturn]] void fail(const char* what, const std::string& path) {
  throw Error(ErrorKind::io, std::string("[write] ") + what + " " + path + ": " + std::strerror(errno));
}

class Descriptor {
 public:
  explicit Descriptor(int file) : file_(file) {}
  ~Descriptor() {
    if (file_ >= 0) ::close(file_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return file_; }

 private:
  int file_;
};

// Where a path leads.
struct Place {
  std::string path;      // links followed
  bool streams = false;  // written where it is
  bool exists = false;
  struct stat info{};
};

// Names of open descriptors, which look like links to their files: renaming over one would leave the descriptor where it was.
bool is_descriptor(const fs::path& path) { return path.string().starts_with("/proc/") || path.string().starts_with("/dev/fd/"); }

Place find_place(const std::string& path) {
  Place place;
  fs::path at = path;
  std::error_code error;
  for (int links = 0; fs::is_symlink(fs::symlink_status(at, error)) && links < kMostLinks; ++links) {
    if (is_descriptor(fs::absolute(at))) break;
    const fs::path target = fs::read_symlink(at, error);
    if (error) break;
    at = target.is_absolute() ? target : at.parent_path() / target;
  }
  place.path = at.string();
  place.exists = ::stat(place.path.c_str(), &place.info) == 0;
  if (!place.exists && errno != ENOENT) fail("cannot write", path);
  place.streams = (place.exists && !S_ISREG(place.info.st_mode)) || is_descriptor(fs::absolute(at)) ||
                  fs::is_symlink(fs::symlink_status(at, error));
  if (place.exists && S_ISDIR(place.info.st_mode)) {
    throw Error(ErrorKind::io, "[write] found a folder at " + path + ", wanted a file name");
  }
  return place;
}

std::string folder_of(const std::string& path) { return fs::absolute(path).parent_path().string(); }

// A new file beside `path` that is nobody else's: its descriptor, its name in `name`. Negative when the system refuses.
int open_beside(const std::string& path, std::string& name) {
  for (int tries = 0; tries < kMostTries; ++tries) {
    std::uint64_t random = 0;
    if (::getrandom(&random, sizeof(random), 0) != static_cast<ssize_t>(sizeof(random))) return -1;
    name = folder_of(path) + fmt::format("/.qjl-{:016x}.part", random);
    const int file = ::open(name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, kMode);
    if (file >= 0 || errno != EEXIST) return file;
  }
  return -1;
}

bool write_all(int file, std::string_view text) {
  while (!text.empty()) {
    const ssize_t count = ::write(file, text.data(), text.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return false;
    text.remove_prefix(static_cast<std::size_t>(count));
  }
  return true;
}

void write_stream(const Place& place, const std::string& path, std::string_view text) {
  const Descriptor file(::open(place.path.c_str(), O_WRONLY | O_APPEND | O_NOCTTY | O_CLOEXEC));
  if (file.get() < 0 || !write_all(file.get(), text)) fail("cannot write", path);
}

// What an old file's users rely on. Another's owner is kept where the system lets us.
bool keep_mode(int file, const Place& place) {
  if (!place.exists) return true;
  if (::fchown(file, place.info.st_uid, place.info.st_gid) != 0) errno = 0;
  return ::fchmod(file, place.info.st_mode & kPermissions) == 0;
}

}  // namespace

void check_result_place(const std::string& path) {
  const Place place = find_place(path);
  if (place.streams) {
    if (::access(place.path.c_str(), W_OK) != 0) fail("cannot write", path);
    return;
  }
  struct stat info{};
  if (::lstat(place.path.c_str(), &info) != 0 && errno != ENOENT) fail("cannot write", path);  // a name too long, for example
  std::string name;
  const Descriptor file(open_beside(place.path, name));
  if (file.get() < 0) fail("cannot write in folder", folder_of(place.path));
  ::unlink(name.c_str());
}

void write_result_file(const std::string& path, std::string_view text) {
  const Place place = find_place(path);
  if (place.streams) return write_stream(place, path, text);
  std::string name;
  const Descriptor file(open_beside(place.path, name));
  if (file.get() < 0) fail("cannot write in folder", folder_of(place.path));
  const UnfinishedFile unfinished(name.c_str());
  if (!write_all(file.get(), text) || !keep_mode(file.get(), place) || ::fsync(file.get()) != 0 ||
      std::rename(name.c_str(), place.path.c_str()) != 0) {
    const int reason = errno;
    ::unlink(name.c_str());
    errno = reason;
    fail("cannot write", path);
  }
  // The name itself reaches the disk with its folder; where the system cannot tell, the file is whole all the same.
  const Descriptor folder(::open(folder_of(place.path).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (folder.get() >= 0) ::fsync(folder.get());
}

}  // namespace qjl::cli

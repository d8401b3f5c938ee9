// Two signs that a writer is gone, since each alone may err: its number may be that of a process elsewhere, and not every system has
// locks. A part of our own number has the lock alone: all processes of that number in containers write such, those before us too.
#include "stale_parts.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <filesystem>
#include <memory>
#include <optional>
#include <string_view>

namespace qjl {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kMark = ".part";
constexpr int kMaxLost = 16;    // parts to lose before the system is believed to be one that cannot tell
constexpr mode_t kMode = 0666;  // less what the process's mask takes

std::string part_name(const std::string& path, std::int64_t pid, std::int64_t count) {
  return path + std::string(kMark) + std::to_string(pid) + "-" + std::to_string(count);
}

// Of the process that writes a part of `file`, when `name` is that of one.
std::optional<pid_t> writer_of(const std::string& name, const std::string& file) {
  const std::string before = file + std::string(kMark);
  if (!name.starts_with(before)) return std::nullopt;
  pid_t pid = 0;
  std::int64_t count = 0;
  const char* end = name.data() + name.size();
  const auto first = std::from_chars(name.data() + before.size(), end, pid);
  if (first.ec != std::errc() || first.ptr == end) return std::nullopt;
  const auto second = std::from_chars(first.ptr + 1, end, count);
  if (second.ec != std::errc() || pid <= 0 || count < 0 || name != part_name(file, pid, count)) return std::nullopt;
  return pid;
}

bool may_be_gone(pid_t pid) { return pid == getpid() || (::kill(pid, 0) != 0 && errno == ESRCH); }

bool is_at(int file, const char* name) {
  struct stat open{}, named{};
  return ::fstat(file, &open) == 0 && ::lstat(name, &named) == 0 && open.st_dev == named.st_dev && open.st_ino == named.st_ino;
}

// Whoever sweeps holds the part meanwhile, so that nobody can begin to write it.
void remove_unless_held(const fs::path& part) {
  const int file = ::open(part.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  if (file < 0) return;
  if (::flock(file, LOCK_EX | LOCK_NB) == 0 && is_at(file, part.c_str())) ::unlink(part.c_str());
  ::close(file);
}

// Whether it is ours: between its making and its lock somebody may have taken it for one that was left. Where the system has no locks
// nobody removes a part whose writer lives.
bool hold(int file, const char* name) {
  if (::flock(file, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) return false;
  return is_at(file, name);
}

}  // namespace

Part new_part(const std::string& path) {
  static std::atomic<std::int64_t> count{0};
  for (int lost = 0;;) {
    Part part{part_name(path, getpid(), count++), -1};
    part.file = ::open(part.name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, kMode);
    if (part.file < 0 && errno == EEXIST) continue;
    if (part.file < 0 || hold(part.file, part.name.c_str()) || ++lost == kMaxLost) return part;
    ::close(part.file);
  }
}

namespace {

// Parts in a folder whose file is_wanted(name) says, and whose writers are gone. Not a std::filesystem::directory_iterator: libstdc++'s
// ends the process when it gets no memory.
template <typename Wanted>
void sweep(const fs::path& folder, const Wanted& is_wanted) {
  const std::unique_ptr<DIR, int (*)(DIR*)> entries(::opendir(folder.c_str()), &::closedir);
  if (!entries) return;
  while (const dirent* entry = ::readdir(entries.get())) {
    const std::string name = entry->d_name, file = name.substr(0, name.rfind(kMark));
    if (!is_wanted(file)) continue;
    const std::optional<pid_t> writer = writer_of(name, file);
    if (writer && may_be_gone(*writer)) remove_unless_held(folder / name);
  }
}

}  // namespace

void sweep_stale_parts(const std::string& path) {
  const fs::path file = fs::absolute(path);
  sweep(file.parent_path(), [wanted = file.filename().string()](const std::string& name) { return name == wanted; });
}

void sweep_folder(const std::string& folder, std::string_view suffix) {
  sweep(folder, [suffix](const std::string& name) { return name.ends_with(suffix); });
}

}  // namespace qjl

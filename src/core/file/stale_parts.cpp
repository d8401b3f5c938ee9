// Two signs that a writer is gone, since each alone may err: its number may be that of a process elsewhere, a lock is taken a moment
// after the part is made.
#include "stale_parts.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/types.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <filesystem>
#include <optional>
#include <string_view>

namespace qjl {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kMark = ".part";

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

bool is_gone(pid_t pid) { return ::kill(pid, 0) != 0 && errno == ESRCH; }

bool is_held(const fs::path& part) {
  const int file = ::open(part.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
  if (file < 0) return true;
  const bool held = ::flock(file, LOCK_EX | LOCK_NB) != 0;
  ::close(file);
  return held;
}

}  // namespace

std::string new_part_name(const std::string& path) {
  static std::atomic<std::int64_t> count{0};
  return part_name(path, getpid(), count++);
}

void hold_part(int file) {
  static_cast<void>(::flock(file, LOCK_EX | LOCK_NB));
}  // where the system has no locks there is the number

void sweep_stale_parts(const std::string& path) {
  const fs::path file = fs::absolute(path);
  std::error_code error;
  for (fs::directory_iterator at(file.parent_path(), error), end; !error && at != end; at.increment(error)) {
    const std::optional<pid_t> writer = writer_of(at->path().filename().string(), file.filename().string());
    if (writer && is_gone(*writer) && !is_held(at->path())) ::unlink(at->path().c_str());
  }
}

}  // namespace qjl

// What a killed save leaves goes at the next save of the same file, and nothing else does.
#include "stale_parts.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <set>
#include <thread>
#include <vector>

#include "whole_file.hpp"

namespace qjl::test {
namespace {

namespace fs = std::filesystem;

struct StalePartsTest : testing::Test {
  fs::path folder = fs::temp_directory_path() / ("qjl_stale_parts_" + std::to_string(getpid()));
  std::string path = (folder / "saved.x").string();

  StalePartsTest() { fs::create_directories(folder); }
  ~StalePartsTest() override { fs::remove_all(folder); }

  void put(const std::string& name) const { std::ofstream(folder / name) << "left"; }
  std::set<std::string> names() const {
    std::set<std::string> found;
    for (const fs::directory_entry& entry : fs::directory_iterator(folder)) found.insert(entry.path().filename().string());
    return found;
  }
};

// The number of a process that has ended.
std::string number_of_the_dead() {
  const pid_t child = fork();
  if (child == 0) _exit(0);
  int status = 0;
  waitpid(child, &status, 0);
  return std::to_string(child);
}

TEST_F(StalePartsTest, OnlyPartsOfThisFileWithoutAWriterGo) {
  const std::string dead = number_of_the_dead(), own = std::to_string(getpid());
  const std::set<std::string> kept{"saved.x",  // of another process that lives, of another file, and names that only look alike
                                   "saved.x.part1-0",
                                   "other.x.part" + dead + "-0",
                                   "saved.x.part" + dead,
                                   "saved.x.part" + dead + "-",
                                   "saved.x.part" + dead + "-0.gz",
                                   "saved.x.part-" + dead + "-0",
                                   "saved.x.part0" + dead + "-0",
                                   "saved.x.part" + dead + "-01",
                                   "saved.x.part" + dead + "--1",
                                   "saved.x.part99999999999-0",
                                   "saved.x.part0-0",
                                   "xsaved.x.part" + dead + "-0"};
  for (const std::string& name : kept) put(name);
  put("saved.x.part" + dead + "-0");
  put("saved.x.part" + dead + "-17");
  put("saved.x.part" + own + "-1000000");  // of a process of this number before: in a container all have the same
  sweep_stale_parts(path);
  EXPECT_EQ(names(), kept);
}

TEST_F(StalePartsTest, APartThatSomebodyHoldsStays) {
  const std::string name = "saved.x.part" + number_of_the_dead() + "-0";
  put(name);
  const int file = open((folder / name).c_str(), O_WRONLY | O_CLOEXEC);
  ASSERT_EQ(flock(file, LOCK_EX), 0);
  sweep_stale_parts(path);
  EXPECT_EQ(names(), std::set{name});
  close(file);
  sweep_stale_parts(path);
  EXPECT_TRUE(names().empty());
}

// Two containers on one volume, each with a process of the same number: who writes has a part of its own.
TEST_F(StalePartsTest, APartOfAnotherProcessOfThisNumberStaysAsItIs) {
  std::vector<int> held;
  std::set<std::string> wanted{"saved.x"};
  for (int count = 0; count < 100; ++count) {
    const std::string name = "saved.x.part" + std::to_string(getpid()) + "-" + std::to_string(count);
    wanted.insert(name);
    put(name);
    held.push_back(open((folder / name).c_str(), O_WRONLY | O_CLOEXEC));
    ASSERT_EQ(flock(held.back(), LOCK_EX), 0);
  }
  WholeFile(path).finish();
  EXPECT_EQ(names(), wanted);
  for (const std::string& name : wanted) EXPECT_EQ(fs::file_size(folder / name), name == "saved.x" ? 0u : 4u) << name;
  for (const int file : held) close(file);
}

// While others look for what is left, also before a new part is locked.
TEST_F(StalePartsTest, PartsOfThisProcessStayWhileTheyAreWritten) {
  std::atomic<int> lost{0};
  const auto save_often = [&] {
    for (int i = 0; i < 500; ++i) {
      const Part part = new_part(path);
      sweep_stale_parts(path);
      if (part.file < 0 || unlink(part.name.c_str()) != 0) ++lost;
      close(part.file);
    }
  };
  std::vector<std::thread> writers;
  for (int i = 0; i < 4; ++i) writers.emplace_back(save_often);
  for (std::thread& writer : writers) writer.join();
  EXPECT_EQ(lost, 0);
  EXPECT_TRUE(names().empty());
}

TEST_F(StalePartsTest, AKilledSaveIsCleanedUpByTheNext) {
  int ready[2];
  ASSERT_EQ(pipe(ready), 0);
  const pid_t child = fork();
  if (child == 0) {
    WholeFile file(path);
    file.zeros(std::int64_t{3} << 20);
    static_cast<void>(write(ready[1], "x", 1));
    pause();
    _exit(0);
  }
  char byte = 0;
  ASSERT_EQ(read(ready[0], &byte, 1), 1);
  WholeFile beside(path);  // while the other still writes: it keeps its part
  EXPECT_EQ(names().size(), 2u);
  kill(child, SIGKILL);
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_EQ(names().size(), 2u);
  WholeFile next(path);
  next.finish();
  beside.finish();
  EXPECT_EQ(names(), std::set<std::string>{"saved.x"});
}

}  // namespace
}  // namespace qjl::test

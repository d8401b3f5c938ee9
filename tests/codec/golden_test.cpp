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
    // clang-format off
    {"k2v2", {0xe831ccf13dd96c6c, 0x9c786cea2d8e439, 0x92fb8ad19a338015, 0xd3e2de8e89f706e4, 0xe6c197f3a6b6ba8c}},
    {"k3v2", {0x6b1a9b83ecdbe6ee, 0x479e42d9349259fc, 0x6f9baebccadfe3ee, 0x9d82efec1e9fe164, 0x52b4400cef731283}},
    {"k3v3", {0xaadbac28b622ec97, 0x61e0cfd517f8fd21, 0x1061a118c5d12e56, 0x9926dec00e280d8a, 0xa4b7b1856a9963d}},
    {"k4v3", {0xa47ea077e33ac2e6, 0xbde182c8669b1759, 0x5b9c0428f64954aa, 0x38129fbd34f82515, 0x32725b6519234979}},
    {"k4v4", {0xe149e2bd10af15e4, 0xd7c681f15d31fed3, 0x16894156b3c385a8, 0x137178db0b8fd9a4, 0xccbad90f3d0a6b5a}},
    {"k1v1", {0x90951673678a21d2, 0x35a6147b39322b58, 0x88d1187a37c320e, 0x999ff610c1a830c5, 0x8021132ae00aba44}},
    {"f16", {0x175d6c6de10c1339, 0xea4aa483655ca9c1, 0x7f5a7a43d4efedaa, 0xac560a6a9cd99cca, 0xab578fc58402c57e}},
    {"paper", {0x71060d4ff44bff05, 0x2d9bba923e830c93, 0xa6549cad975f21e7, 0xa60feb4f77846c17, 0xb498b4ae87fa9bdb}},
    // clang-format on
};

// Head and the first 64 bytes of each part of the k3v2 page of d = 64.
constexpr const char* kExcerpt =
    "01040304cd97b13c3043923d24569d3d"                                  // head
    "effffb37c2f85faf28e3c3e646e016dbb7161da61a455cdee275cdfd32d712f5"  // mean
    "ea290bda63211ebde1220557fd0431901db01ed736043b35100ed67fd7f743e8"
    "00c0d7e8dbe5e9eed0cad8c9c3d8dde200f1cffbd8d4e8cde1a8e6d2d1f0d3eb"  // key scales
    "00f4e9c6dadff3f0f5eaf5cee8e3e5c300d9dfdecceebc99d9c4dfc5b5ebdfed"
    "00d8beb3c5b9d5ced2dcccbdc5bfcbed00c5d2e6c7b6e1c1ccb4d0c3e3cacbd4"  // value scales
    "00bcb8b4ddcce7f5ddb5e7d7e5b7ffc700bdd0ded5cccce8ecbee2cce8d1d2cb"
    "000000001124149ae4209d53a61e9e5590910c346cb243656599e650a29a5b52"  // keys
    "6c529aed24309366cc09f5f321ae521eb0266ab4e513147118e0d5f41e71f134"
    "786fa0dca8401d84eceedf7a805b41154862140164764655a01649d2985b5567"  // values
    "54aae9d92457756be859454810012412a8706c84d41a1659846eaaaba4a76aa8";

std::uint64_t fnv1a(const std::vector<std::byte>& bytes, std::uint64_t hash = 0xcbf29ce484222325u) {
  for (std::byte b : bytes) hash = (hash ^ std::to_integer<std::uint64_t>(b)) * 0x100000001b3u;
  return hash;
}

// Four sinks, rows with offsets and loud channels; made by integers and IEEE arithmetic, so the same everywhere.
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

// So that a difference shows where it begins.
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

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
    {"k2v2", {0x5728185380c12c02, 0x33d073e595237012, 0x64669188da895784, 0x80108ebca2eaad54, 0x62a54159201f3531}},
    {"k3v2", {0xdb795d93ce6c6d05, 0x2220d99c7f2f286e, 0xfd1580b70ba72b3b, 0x8fb98f3221c0506e, 0x1e044d9269efeb1}},
    {"k3v3", {0x215a57188588b30d, 0x718cdfd9317c1cf0, 0xf00e9f388cc5e291, 0xc605263621b71efe, 0xe33400a2bcf0f36b}},
    {"k4v3", {0x56326d32e344bc7c, 0x50ab01eeafee41e9, 0xf404decf15ecc024, 0xfabc9212e8ff3233, 0xf4730b3782d441bf}},
    {"k4v4", {0x754ed2db89866201, 0xd66b610be33157d, 0xc612611c1be04c86, 0x54852d3e5befc154, 0x9e9a291f6a300e8b}},
    {"k1v1", {0xbc1ac8beb05b2dc7, 0x76307eedf1a3a58f, 0x495b4d8f2d40c62e, 0x4bb67d1568019c40, 0xae41c0487b703f01}},
    {"f16", {0x175d6c6de10c1339, 0xea4aa483655ca9c1, 0x7f5a7a43d4efedaa, 0xac560a6a9cd99cca, 0xab578fc58402c57e}},
    {"paper", {0x70e312477340cd87, 0xf63513ec1dccbd75, 0x64153d638cf32267, 0xfabe97089d6a6da4, 0x7f5681199614f2}},
    // clang-format on
};

// Head and the first 64 bytes of each part of the k3v2 page of d = 64.
constexpr const char* kExcerpt =
    "01040304cd97b13caeb9803df3c9983d"                                  // head
    "effffb37c2f85faf28e3c3e646e016dbb7161da61a455cdee275cdfd32d712f5"  // mean
    "ea290bda63211ebde1220557fd0431901db01ed736043b35100ed67fd7f743e8"
    "00cedaece3e4e9e9cfd8ebc7bfeadedd00e6cef8e4cedfc1edaceed5d3f4d0f4"  // key scales
    "00ecfdd0e4e7e6f2eae1ecd2eaf6f0c900d7e2e1d6f3cca9d9c9e4c9b2f2eaf1"
    "00e7bcb7c7baddc2dadbc9bec9bcc2f800c2d5dcc9b9ecc9d2b0d3cbe5d1ccd7"  // value scales
    "00c1c1b4dec9e3eae2b8dde6e2b4ffcb00bbd9e2d0cfcaf1e7baf3c7eaded8c8"
    "000000001ab36e4de263940cf1a45dbae2fd1dacebd3e2d5dc76b51ab5db16ac"  // keys
    "b5ca952356e1f3631a99d4315c10e953444c11a3139ae511325ae52e1b612a94"
    "845a9eb384559550400639a25815a766e4b61a98545bb758ecb69d8954062051"  // values
    "44558595b89ff7bba05df16ab8aefaee58a20666f49aebaab49fa6b7d4442554";

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

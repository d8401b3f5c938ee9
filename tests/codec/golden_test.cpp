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
    {"k2v2", {0x23555467d1784c6c, 0xf3bff5b9af8e4805, 0xd66d1b2859e10751, 0xb26694efa11de20e, 0xfb0b3a7017cd26d1}},
    {"k3v2", {0x7f1fe5eaa4e5fe81, 0xed5218bf7961f7cc, 0x7814a5c33f9c7e70, 0x43426624c99d9d52, 0x78f0a816c26bd82f}},
    {"k3v3", {0x77ef545a646b89b5, 0xa089fc2b706f3032, 0x994966be27e1666, 0x1659962d99bc5b6e, 0xee795c9bff5376e1}},
    {"k4v3", {0x5b700409d54ed8db, 0xe087ea33f8f08b78, 0x7b40740e7349a71e, 0x2a62dccc21364bb9, 0x4a65495ff9b78152}},
    {"k4v4", {0x867f4965bc6c494a, 0xb0da0bb9f5bab334, 0xe77913dfccaf17ac, 0x8089f9c5f8f8c846, 0x4754661d0ffa6a4e}},
    {"k1v1", {0x6267e6460de7c77f, 0xc0c8ffadcf26614b, 0xbcd6dac3c119af1f, 0x554ecb7e186d7c04, 0x4f8c419912f9edc0}},
    {"f16", {0x8f5da7d991c68de, 0xc0822f4b61294912, 0x38dfd23fd8436695, 0x5cdab03e62730b1d, 0xcbd0b15e9e4350c5}},
    {"paper", {0xd7b9d3a31f3bd500, 0x2b2eae2214c4e41e, 0x664b66124391908, 0x4e80c3294d737283, 0x33e4b543a33d3acd}},
    // clang-format on
};

// Head and the first 64 bytes of each part of the k3v2 page of d = 64.
constexpr const char* kExcerpt =
    "02040304d8aeb13c76568f3df3c9983d"                                  // head
    "000000000000f1f0f7001f0426ed1bd7c1131da71a435bdee275ccfd32d712f5"  // mean
    "000000000000f3fb08f70615000a299c1bb31dd736043b35100dd67fd7f743e8"
    "00d5d9e4dedfe1dfd2d0e3c7c6e6d9d200e6d9f8e0d4dad1e6b2f2d5d9f0c9ef"  // key scales
    "00e8ebc5e3e1dff4eae1e8cbebe6e5ca00d7d7f1d1e8bdc0d4c2e9ccbdebe8eb"
    "00e7bcb7c7baddc2dadbc9bec9bcc2f800c2d5dcc9b9ecc9d2b0d3cbe5d1ccd7"  // value scales
    "00c1c1b4dec9e3eae2b8dde6e2b4ffcb00bbd9e2d0cfcaf1e7baf3c7eaded8c8"
    "0000000018b16c4b21a14b02f0a352f2e1f41ca1e1d1d9ccda75ac10ebd21551"  // keys
    "abc18c194cc8ea515191cb698a481849424a11c94a911d082149d5260a59518b"
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
  return PageCodec(d, turned_config(cache_type, d)).encode(keys.view(), values.view(), 4);
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

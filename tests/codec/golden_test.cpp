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
    {"k2v2", {0x462da60b6481df65, 0x622b6dfc4989b004, 0x3ec1910e33cecb56, 0x2f00d6c69f323bf6, 0x88f348c620e395e2}},
    {"k3v2", {0xee640444adcd663e, 0xce7617eba9052bec, 0xe9a6d87b1946f4a7, 0xc512ea21c32b8cb, 0xcfde5b8a6d7626aa}},
    {"k3v3", {0x368c4a39cdc3ad5, 0x71790f90994a3861, 0xaa174c1636cd5b1e, 0xe35e47c4b12d5b5c, 0x7931da5fb9960a9b}},
    {"k4v3", {0xa8bebaea7ff3642b, 0x6f436da98b77a5, 0xe3fbe6ffdbffa84b, 0x8f5790bc4d163ef0, 0x99a1adda031774b2}},
    {"k4v4", {0x261b65933466e4b0, 0x6755b58c7966c8cc, 0x3a56a39999a550a9, 0x1128b2e096df693b, 0xe97c564acdf0bb5a}},
    {"k1v1", {0xafd6768d89989680, 0x4bff0c625a0126e7, 0xcf17f4a031a101e5, 0x686d97c24c55da8b, 0xb9a836371c0650b7}},
    {"f16", {0x175d6c6de10c1339, 0xea4aa483655ca9c1, 0x7f5a7a43d4efedaa, 0xac560a6a9cd99cca, 0xab578fc58402c57e}},
    {"paper", {0xdf61d521a2e69a44, 0x62e3a08312c79033, 0x61b2a4d8823bc34a, 0x5bb3c8f4246ed5c3, 0x9596f6d7f180e41}},
    // clang-format on
};

// Head and the first 64 bytes of each part of the k3v2 page of d = 64.
constexpr const char* kExcerpt =
    "01040304cd97b13cd420873d9e7d6c3d"                                  // head
    "effffb37c2f85faf28e3c3e646e016dbb7161da61a455cdee275cdfd32d712f5"  // mean
    "ea290bda63211ebde1220557fd0431901db01ed736043b35100ed67fd7f743e8"
    "00c9d1e5d9e0e4e8ded2dfc4c4ddcdd000e3cef5e3c7e1c5ecb4e8d5d9f4cce8"  // key scales
    "00e6edc9ebdde9eaf4e1f0deece1e7c200d6dce8cedecda5d4bcdfbeb8fff2ee"
    "00efc6c6dbcae4d6dee6d9cccfc7ddf600c9daf1ddc9f3cddac3e4d6efdcdbdd"  // value scales
    "00cbc7cbecd3eff2e3beebe1f4c1ffdb00cdedf0e1dee2f8f6d1f8d5fde9e0d3"
    "00000000f5f154aa72ab1582e3e3d9dae9cde6f1aeaac6c7d42173cd1de0a19e"  // keys
    "1ca26213b8322960b4e3a5ac21625b8b4a264f602d1c0be36bb06315db97fa9a"
    "b8aea0aa142eb9ed18aa5b23149589678889b67678aa9599fcfeffff24a5589c"  // values
    "085465569866a6a6a8a987ddb8666f2628eff6effcfaeffa48215d8668fff6ee";

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

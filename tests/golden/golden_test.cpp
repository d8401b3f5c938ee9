// The bytes of a page, pinned: the same keys, values and seed give these bytes in every version with this format number and these
// encoders, on every processor and SIMD target. A change here is a change of format (raise kFormatVersion and keep a reader for the
// old one), or of what an encoder chooses, which old readers read as well.
//
//   hash = FNV-1a 64 over head and body
//
// The values were taken from the first version that agreed with the oracle. A failure prints the line of the table as found.
#include <iomanip>
#include <sstream>

#include "cache_config.hpp"
#include "every_code.hpp"
#include "forced_target.hpp"
#include "test_rows.hpp"

namespace qjl::test {
namespace {

constexpr int kDims[] = {64, 80, 96, 128, 256};
constexpr std::uint64_t kNone = 0;  // no page of this width
struct Golden {
  const char* cache_type;
  std::uint64_t hash[5];  // of kDims
};
constexpr Golden kGolden[] = {
    // clang-format off
    {"k2v2", {0x16fa66d4fabac1c4, 0xc22e0e99e1a8f1f2, 0x1279fbb846343ad2, 0x5e2b184c6caca675, 0x50dcc9421eef09b2}},
    {"k3v2", {0x33126b35d5dccadc, 0x4acb4e6feaf0504c, 0xc96272579b5c65de, 0xda5fd788f627f7f7, 0xf35959cc7c507490}},
    {"k3v3", {0xa35f5e25458eaddf, 0xef80d8fed1fd2c20, 0x7c2ca51749200e73, 0x65a185fb8c90b0f0, 0xc418f4e054f9d6b6}},
    {"k4v3", {0xb35d7dfdd025c63e, 0x49e1677d92b33ff8, 0xde23b3ef71f75ef, 0xf0c660444909eec3, 0x857c1a9b6cf05e4}},
    {"k4v4", {0xedbeccc4ea1d437c, 0xfb874ed75b49df8c, 0xcdeb33fd5d826f9f, 0x478dd824e5438797, 0xdc7e097b90883a80}},
    {"k1v1", {0x41f9afb96c58fba6, 0x81e59d08ef878d4e, 0xdc2b01ce081444b0, 0x9f81bcb683d2965b, 0xa35707e5c4f25b95}},
    {"f16", {0x8f5da7d991c68de, 0xc0822f4b61294912, 0x38dfd23fd8436695, 0x5cdab03e62730b1d, 0xcbd0b15e9e4350c5}},
    {"paper", {0xd7b9d3a31f3bd500, 0x2b2eae2214c4e41e, 0x664b66124391908, 0x4e80c3294d737283, 0x33e4b543a33d3acd}},
    {"t2v2", {0x63b56a33a22d16e5, kNone, kNone, 0xa6062e9d5e05c228, 0xa4fcbdf934c84548}},
    {"t3v2", {0x29c59020b6ef2b2c, kNone, kNone, 0x7644c1d3e15d97d2, 0x5161a43ca2c1ef8f}},
    {"t3v3", {0xf539b17e98a60949, kNone, kNone, 0x795d8816304baee4, 0x4e181b9c1cd66a89}},
    {"t4v4", {0xd385c83777136d71, kNone, kNone, 0x276ba607612715f5, 0xb8a7cf676b53e1f2}},
    {"k5v5", {0xdf8592c3172377bf, kNone, kNone, 0xd0c79364986fef14, 0x8803f2d2596d9f55}},
    {"k6v6", {0xac78848abfc86ba8, kNone, kNone, 0x4c978a372fa31fb8, 0xc7bd630dfb021942}},
    // clang-format on
};

// Head and the first 64 bytes of each part of the k3v2 page of d = 64.
constexpr const char* kExcerpt =
    "02040304d8aeb13c76568f3ded25923d"                                  // head
    "000000000000f1f0f7001f0426ed1bd7c1131da71a435bdee275ccfd32d712f5"  // mean
    "000000000000f3fb08f70615000a299c1bb31dd736043b35100dd67fd7f743e8"
    "00d3d9e4dedfe1dfd2d0e3c7c5e6d9d200e6dcf7e0d4dad1e6b2f2d5d9f0cbee"  // key scales
    "00e7ebc5e3e1dff3eae1e8cbe5e6e6ca00d7d7f1d1e8bdc0d4c2e9c8bdede8eb"
    "00e9beb9c9bcdfc4dfddcdc0cabec4fa00c4d8decbbbeecbd5b2d5cde6d3cfdd"  // value scales
    "00c3c4b5e0cbe5ece4bae0e8e4b7ffcd00bddbe4d2d1cdf3eabcf5c9ece0daca"
    "0000000018b16c4b21a18b02f0a352f2e1f41ca1e1d1d9ccda75ac10ebd21551"  // keys
    "abc18c194cc8ea515191cb698a481841414a08c94a911d102149dd260a99518b"
    "845a9eb394559550100639a25815a766e4b61a98545bb758ecb69d8954062051"  // values
    "44559595b89ff7bba05de16ab8aefaee58a20666f49aebaab49fa6b7d4442554";

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

// A new code has bytes of its own to pin.
TEST(Golden, EveryCodeIsPinned) {
  std::vector<std::string> types;
  for (const Golden& golden : kGolden) types.push_back(golden.cache_type);
  EXPECT_EQ(with_every_code(types), types);
}

TEST(Golden, PagesHaveTheirBytes) {
  for (const Golden& golden : kGolden) {
    std::ostringstream found;
    found << "{\"" << golden.cache_type << "\", {" << std::hex;
    bool same = true;
    for (int i = 0; i < 5; ++i) {
      std::uint64_t hash = kNone;
      if (made_for(golden.cache_type, kDims[i])) {
        const EncodedPage page = golden_page(golden.cache_type, kDims[i]);
        hash = fnv1a(page.body, fnv1a(page.head));
      }
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

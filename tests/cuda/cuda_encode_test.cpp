// Pages coded by the CUDA kernels have the bytes of the CPU's, which golden_test pins; decoded ones have its numbers, bit for bit.
#include "device_verbs.hpp"
#include "every_code.hpp"

namespace qjl::test {
namespace {

const std::vector<std::string> kTypes =
    on_gpus(with_every_code({"k1v1", "k2v2", "k3v3", "k4v4", "f16", "paper", "kl4vs2", "ks2vl8", "paper:rows=192"}));
constexpr int kDims[] = {QJL_TEST_HEAD_DIMS};

// Name of the part of a page that holds a byte, for a message.
std::string part_of(const layout::BodyLayout& at, std::int64_t byte) {
  return byte < at.key_scales ? "the mean" : byte < at.keys ? "scales, norms or steps" : byte < at.values ? "keys" : "values";
}

// The first difference of two pages; empty when there is none.
std::string difference(const layout::PageShape& shape, const Sealed& found, const Sealed& wanted) {
  const layout::BodyLayout at = layout::body_layout(shape);
  for (std::size_t i = 0; i < wanted.heads.size(); ++i) {
    if (std::memcmp(&found.heads[i], &wanted.heads[i], sizeof(layout::PageHead)) != 0) return "head of page " + std::to_string(i);
    for (std::int64_t k = 0; k < at.bytes; ++k) {
      const std::int64_t byte = static_cast<std::int64_t>(i) * at.bytes + k;
      if (found.bodies.data[byte] == wanted.bodies.data[byte]) continue;
      return "byte " + std::to_string(k) + " of page " + std::to_string(i) + " (" + part_of(at, k) + ")";
    }
  }
  return "";
}

struct Case {
  const char* cache_type;
  int d;
};
std::ostream& operator<<(std::ostream& out, const Case& c) { return out << c.cache_type << " d=" << c.d; }
class CudaPages : public ::testing::TestWithParam<Case> {};

TEST_P(CudaPages, HaveTheBytesAndNumbersOfTheCpu) {
  const auto [type, d] = GetParam();
  const Backend &cpu = cpu::backend(SimdTarget::scalar), &fused = cpu::backend(simd_targets().back());  // one fuses, as a GPU
  for (const DType dtype : {DType::f16, DType::bf16}) {
    const CodecConstants constants(d, turned_config(type, d), dtype);
    const CodecTables& tables = constants.tables();
    Integers random(77);
    const Rows keys = awkward_rows(random, dtype, 2 * kTokensPerPage, d),
               values = awkward_rows(random, dtype, 2 * kTokensPerPage, d);
    for (const int sinks : {0, 4, 16}) {
      if (sinks != 4 && dtype == DType::bf16) continue;
      take_turns(dtype == DType::bf16 ? 2 : sinks == 4 ? 0 : 1);
      const Sealed wanted = seal(cpu, tables, keys, values, sinks), found = seal(device_verbs(), tables, keys, values, sinks);
      EXPECT_EQ(difference(tables.shape, found, wanted), "") << type << " d=" << d << " sinks=" << sinks;
      if (sinks != 4) continue;
      const Decoded numbers = decode(device_verbs(), tables, wanted), exact = decode(fused, tables, wanted);
      EXPECT_EQ(std::memcmp(numbers.keys.data(), exact.keys.data(), exact.keys.size() * sizeof(float)), 0) << type << " d=" << d;
      EXPECT_EQ(std::memcmp(numbers.values.data(), exact.values.data(), exact.values.size() * sizeof(float)), 0)
          << type << " d=" << d;
    }
  }
}

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const std::string& type : kTypes) {
    for (const int d : kDims) all.push_back({type.c_str(), d});
  }
  return all;
}
INSTANTIATE_TEST_SUITE_P(All, CudaPages, ::testing::ValuesIn(cases()));

}  // namespace
}  // namespace qjl::test

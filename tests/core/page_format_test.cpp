// docs/format.md is made from the layout itself and says what the code does; the sizes are those that docs and tables promise.
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

#include "every_code.hpp"
#include "format_doc.hpp"
#include "format_example.hpp"
#include "oracle_view.hpp"

namespace qjl::test {
namespace {

TEST(PageFormat, DocumentIsMadeFromTheLayout) {
  std::ifstream file(QJL_SOURCE_DIR "/docs/format.md");
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  EXPECT_EQ(text, page_format_markdown())
      << "docs/format.md is out of date; write it anew: build/release/write_format_doc > docs/format.md";
}

TEST(PageFormat, ExampleIsMadeFromAPage) {
  std::ifstream file(QJL_SOURCE_DIR "/docs/format_example.md");
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  EXPECT_EQ(text, format_example_markdown())
      << "docs/format_example.md is out of date; write it anew: build/release/write_format_example > docs/format_example.md";
}

// bits = page bytes * 8 / (2 * 128 * d), head included; to two digits as the table of presets prints it.
TEST(PageFormat, SealedBitsOfThePresets) {
  const struct {
    const char* cache_type;
    double bits_64, bits_128;
  } table[] = {{"k2v2", 2.16, 2.10}, {"k3v2", 2.66, 2.60}, {"k3v3", 3.16, 3.10}, {"k4v3", 3.66, 3.60}, {"k4v4", 4.16, 4.10}};
  for (const auto& row : table) {
    const auto bits = [&](int d) { return PageCodec(d, codec_config(row.cache_type)).page_bytes() * 8.0 / (2 * 128 * d); };
    EXPECT_NEAR(bits(64), row.bits_64, 0.005) << row.cache_type;
    EXPECT_NEAR(bits(128), row.bits_128, 0.005) << row.cache_type;
  }
}

TEST(PageFormat, BytesAreThoseOfTheDocument) {
  for (const std::string& cache_type : with_every_code({"k1v1", "k2v2", "k3v2", "k3v3", "k4v3", "k4v4", "ks2vs2", "t2v2", "t3v2",
                                                        "t3v3", "t4v4", "k5v5", "k6v5", "f16", "paper"})) {
    for (int d : {64, 80, 96, 128, 256}) {
      if (!made_for(cache_type, d)) continue;
      const CodecConfig config = codec_config(cache_type);
      const oracle::Page page(oracle_format(d, config), {}, {});
      EXPECT_EQ(PageCodec(d, config).page_bytes(), 16 + page.body_bytes()) << cache_type << " d=" << d;
    }
  }
}

}  // namespace
}  // namespace qjl::test

// Any text as a cache type: refused with invalid_argument, or read, named and read again to the same codec.
#include "fuzz_input.hpp"
#include "qjl/config.hpp"
#include "qjl/error.hpp"

namespace {

bool same(const qjl::CodecConfig& a, const qjl::CodecConfig& b) {
  return a.key_code == b.key_code && a.value_code == b.value_code && a.seed == b.seed && a.sink_tokens == b.sink_tokens &&
         a.sketch.kind == b.sketch.kind && a.sketch.rows == b.sketch.rows &&
         a.sketch.outlier_channels == b.sketch.outlier_channels && a.sketch.outlier_rows == b.sketch.outlier_rows;
}

template <typename Read>
void read_and_name(const Read& read) {
  try {
    const qjl::CodecConfig config = read();
    qjl_fuzz::require(same(config, qjl::codec_config(qjl::cache_type_name(config))), "a name reads back as its codec");
  } catch (const qjl::Error& error) {
    qjl_fuzz::require(error.kind() == qjl::ErrorKind::invalid_argument, "a bad name is an invalid argument");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  read_and_name([&] { return qjl::codec_config(text); });
  const std::size_t middle = text.find(' ');
  if (middle != std::string_view::npos) {
    read_and_name([&] { return qjl::codec_config(text.substr(0, middle), text.substr(middle + 1)); });
  }
  return 0;
}

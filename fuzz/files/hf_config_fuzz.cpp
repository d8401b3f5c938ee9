// Any text as a config.json, and as the index of shards: read or refused with a qjl::Error; the files of an index stand in its folder.
#include "hf_config.hpp"

#include "fuzz_input.hpp"
#include "hf_shards.hpp"
#include "qjl/error.hpp"

using namespace qjl::engine;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    const HfConfig config = read_hf_config(parse_json_object(text, "fuzz"));
    qjl_fuzz::require(config.values.contains("general.architecture"), "a config has an architecture");
  } catch (const qjl::Error&) {
  }
  try {
    for (const auto& [tensor, file] : parse_shard_index(text, "fuzz")) {
      qjl_fuzz::require(file.find('/') == std::string::npos && file.ends_with(".safetensors"), "files stand in the folder");
    }
  } catch (const qjl::Error&) {
  }
  return 0;
}

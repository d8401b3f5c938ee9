// The codes of a test of all codes, from their traits: a code that no line of the test names is tested all the same.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "codes.hpp"
#include "qjl/codec.hpp"
#include "qjl/config.hpp"

namespace qjl::test {

template <typename Has>
std::vector<Code> codes_where(const Has& has) {
  std::vector<Code> codes;
  for (int number = 0; number < kNumCodes; ++number) {
    if (const Code code = static_cast<Code>(number); has(code)) codes.push_back(code);
  }
  return codes;
}

// Whether a page of this width can be made.
inline bool made_for(const std::string& cache_type, int d) { return takes_width(codec_config(cache_type), d); }

// The types, then kNAMEvNAME for each rotated code that none of them has on either side.
inline std::vector<std::string> with_every_code(std::vector<std::string> types) {
  for (Code code : codes_where(is_rotated)) {
    const bool named = std::any_of(types.begin(), types.end(), [&](const std::string& type) {
      const CodecConfig config = codec_config(type);
      return config.key_code == code || config.value_code == code;
    });
    const std::string name(code_name(code));
    if (!named) types.push_back("k" + name + "v" + name);
  }
  return types;
}

inline std::vector<std::string> on_gpus(std::vector<std::string> types) {
  std::erase_if(types, [](const std::string& type) {
    const CodecConfig config = codec_config(type);
    return !is_on_gpus(config.key_code) || !is_on_gpus(config.value_code);
  });
  return types;
}

}  // namespace qjl::test

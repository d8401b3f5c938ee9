// The CUDA verbs as a table of a back end whose memory is the host's: the kernels of src/cuda, run by simt.hpp.
#pragma once

#include "kernels_fixtures.hpp"
#include "launch.hpp"
#include "simt.hpp"

namespace qjl::test {

inline const Backend& cuda_on_host() {
  static const Backend verbs = [] {
    Backend b{};
    b.name = "cuda on host";
    b.encode_workspace_bytes = [](const CodecTables&) { return std::size_t{64}; };
    b.attend_workspace_bytes = b.encode_workspace_bytes;
    b.encode_keys = [](const EncodeArgs& args) { cuda::encode_keys(args, nullptr); };
    b.encode_values = [](const EncodeArgs& args) { cuda::encode_values(args, nullptr); };
    b.decode = [](const DecodeArgs& args) { cuda::decode(args, nullptr); };
    return b;
  }();
  return verbs;
}

}  // namespace qjl::test

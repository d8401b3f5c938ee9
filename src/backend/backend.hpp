// A device's table of verbs. Core calls through it and knows nothing else of a device.
// Five verbs, and decode, whose reason is in docs/decisions.md: truncating into a sealed page needs its numbers back.
#pragma once

#include <cstddef>

#include "args.hpp"

namespace qjl {

struct Backend {
  const char* name;
  std::size_t (*encode_workspace_bytes)(const CodecTables&);
  std::size_t (*attend_workspace_bytes)(const CodecTables&);
  void (*encode_keys)(const EncodeArgs&);
  void (*encode_values)(const EncodeArgs&);
  void (*project_query)(const ProjectArgs&);
  void (*score)(const ScoreArgs&);
  void (*attend)(const AttendArgs&, const AttendPiece&);
  void (*decode)(const DecodeArgs&);
};

}  // namespace qjl

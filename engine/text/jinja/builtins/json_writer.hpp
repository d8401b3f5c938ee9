// The filter `tojson` of chat templates: Python's json.dumps(value, ensure_ascii=False, ...), whose texts keep their origin.
#pragma once

#include <optional>

#include "interpreter.hpp"

namespace qjl::engine::jinja {

struct JsonForm {
  bool ascii = false;
  bool sorted = false;
  std::optional<OriginText> indent = {};  // of one level; none: all in one line
  OriginText item_separator{", ", Origin::markup}, key_separator{": ", Origin::markup};
};

// Errors: Fault on values that JSON does not have.
OriginText write_json(Interpreter& run, const Value& value, const JsonForm& form);

}  // namespace qjl::engine::jinja

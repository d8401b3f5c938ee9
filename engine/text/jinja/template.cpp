// The door: parse, run, and errors with their line.
#include "template.hpp"

#include "interpreter.hpp"
#include "parser.hpp"
#include "qjl/error.hpp"

namespace qjl::engine::jinja {

Template::Template(std::string_view source) : block_(parse(source)) {}

OriginText Template::render(const Dict& given, const std::tm& now) const {
  Interpreter interpreter(now);
  try {
    return interpreter.run(block_, given);
  } catch (const Fault& fault) {
    throw Error(ErrorKind::invalid_argument, "[chat template] line " + std::to_string(interpreter.line()) + ": " + fault.what());
  }
}

}  // namespace qjl::engine::jinja

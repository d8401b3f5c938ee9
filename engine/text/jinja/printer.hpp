// Values as Python writes them: str() and repr().
#pragma once

#include "interpreter.hpp"

namespace qjl::engine::jinja {

class Printer {
 public:
  explicit Printer(Interpreter& run) : run_(run) {}

  OriginText print(const Value& value);  // str(); an undefined value is nothing
  OriginText represent(const Value& value);

 private:
  void represent(const Value& value, OriginText& out);
  void represent_text(const OriginText& text, OriginText& out);
  void represent_list(const Value& value, OriginText& out);
  void represent_dict(const Dict& dict, OriginText& out);

  Interpreter& run_;
};

std::string print_number(double number);  // the shortest digits that read back
std::string hex_escape(char32_t code);    // \xNN, \uNNNN or \UNNNNNNNN

}  // namespace qjl::engine::jinja

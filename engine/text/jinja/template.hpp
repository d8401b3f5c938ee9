// A chat template, written in Jinja, run as jinja2 runs it in the environment of Hugging Face's transformers 5.24:
// ImmutableSandboxedEnvironment(trim_blocks, lstrip_blocks), loop controls, {% generation %}, `tojson` as json.dumps,
// raise_exception and strftime_now.
//
// Not there: extends, include, import, block, do; the filters filesizeformat, pprint, random, striptags, truncate, urlize,
// wordwrap, xmlattr; the functions cycler, joiner, lipsum; %, join, format, replace and indent on a text that is marked safe;
// fields of str.format with a format of their own; whole numbers of more than 64 bits. These are errors that name what was found.
// Letters whose other case is several letters (but the sharp s) stay as they are.
#pragma once

#include <ctime>
#include <string_view>

#include "syntax.hpp"
#include "value.hpp"

namespace qjl::engine::jinja {

class Template {
 public:
  // Errors: bad_file, unsupported, with the line.
  explicit Template(std::string_view source);

  // given: the names that it sees. Texts of the result are markup where the template wrote them.
  // Errors: invalid_argument with the line: what the template refuses, what it cannot do, or more work than is allowed.
  OriginText render(const Dict& given, const std::tm& now) const;

 private:
  Block block_;
};

}  // namespace qjl::engine::jinja

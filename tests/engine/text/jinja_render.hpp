// Renders templates for the tests of the interpreter.
#pragma once

#include <gtest/gtest.h>

#include <ctime>
#include <string>
#include <string_view>

#include "jinja/interpreter.hpp"
#include "jinja/template.hpp"
#include "qjl/error.hpp"

namespace qjl::engine::jinja {

inline OriginText render(std::string_view source, const Dict& given = {}) {
  std::tm now{};
  now.tm_year = 125;
  now.tm_mday = 4;
  return Template(source).render(given, now);
}

inline std::string text(std::string_view source) { return render(source).bytes(); }

// The words of others stand in <>.
inline std::string marked(std::string_view source) {
  Dict given;
  given.set(Value::text("x"), Value::text("ab CD", Origin::words));
  given.set(Value::text("p"), Value::text("%% %3d", Origin::words));
  Dict row;
  row.set(Value::text("k\"", Origin::words), Value::text("v\n", Origin::words));
  given.set(Value::text("d"), Value::dict(row));
  const OriginText out = render(source, given);
  std::string shown;
  std::size_t begin = 0;
  for (const auto& stretch : out.stretches()) {
    const std::string part = out.bytes().substr(begin, stretch.end - begin);
    shown += stretch.origin == Origin::words ? "<" + part + ">" : part;
    begin = stretch.end;
  }
  return shown;
}

inline std::string refusal(const std::string& source) {
  try {
    render(source);
  } catch (const qjl::Error& error) {
    return error.what();
  }
  return "";
}

#define EXPECT_REFUSED(source, part) EXPECT_NE(refusal(source).find(part), std::string::npos) << refusal(source)

}  // namespace qjl::engine::jinja

// Operations on texts that methods, filters and tests share. All keep origins.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "characters.hpp"
#include "interpreter.hpp"
#include "origin_text.hpp"

namespace qjl::engine::jinja {

enum class Side : std::uint8_t { both, left, right };

// White space, or where `characters` is given any of those; spends what these cost, as split_lines what its lines do.
OriginText stripped(Interpreter& run, const OriginText& text, Side side, const std::string* characters);
// Each character through `map`, which also hears whether a letter stood before it.
OriginText mapped(const OriginText& text, const std::function<std::string(char32_t, bool after_letter)>& map);
OriginText uppered(const OriginText& text);
OriginText lowered(const OriginText& text);
OriginText capitalized(const OriginText& text);
// count < 0: all of them
OriginText replaced(const OriginText& text, const std::string& old, const OriginText& by, std::int64_t count);
OriginText escaped(const OriginText& text);  // & < > ' " as entities of HTML
OriginText joined(const OriginText& between, const std::vector<OriginText>& parts);
inline constexpr std::size_t kPartCost = 8;  // steps for a small text of its own
enum class LineEnds : std::uint8_t { drop, keep };
std::vector<OriginText> split_lines(Interpreter& run, const OriginText& text, LineEnds ends);
OriginText padded(const OriginText& text, std::size_t before, std::size_t after, const OriginText& fill);
std::vector<Value> values_of(std::vector<OriginText> texts);

}  // namespace qjl::engine::jinja

// Steps in their order, each over the whole stretch.
#include "text_rules.hpp"

#include <string_view>

#include "nfc.hpp"

namespace qjl::engine {
namespace {

std::string replace_all(std::string_view text, std::string_view from, std::string_view to) {
  std::string out;
  out.reserve(text.size());
  for (;;) {
    const std::size_t at = text.find(from);
    out.append(text.substr(0, at));
    if (at == std::string_view::npos) return out;
    out += to;
    text.remove_prefix(at + from.size());
  }
}

}  // namespace

std::string to_normal_form(const std::vector<NormalStep>& steps, std::string text, bool at_start) {
  for (const NormalStep& step : steps) {
    if (text.empty()) return text;
    switch (step.kind) {
      case NormalStep::Kind::nfc: text = to_nfc(text); break;
      case NormalStep::Kind::replace: text = replace_all(text, step.from, step.to); break;
      case NormalStep::Kind::prepend: text.insert(0, step.to); break;
      case NormalStep::Kind::prepend_at_start:
        if (!at_start) break;
        [[fallthrough]];
      case NormalStep::Kind::prepend_if_other:
        if (!text.starts_with(step.to)) text.insert(0, step.to);
        break;
    }
  }
  return text;
}

}  // namespace qjl::engine

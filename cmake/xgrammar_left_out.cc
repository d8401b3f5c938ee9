// xgrammar's readers of other notations, which its grammar class names and nothing here calls. They are three quarters of its
// compilation; without them whoever called one would get an error.
#include <json_schema_converter.h>
#include <lark_converter.h>
#include <regex_converter.h>
#include <structural_tag.h>

#include <stdexcept>

namespace xgrammar {

Grammar JSONSchemaToGrammar(const std::string&, bool, std::optional<int>, std::optional<std::pair<std::string, std::string>>, bool,
                            std::optional<int>, bool, JSONFormat, std::vector<std::string>) {
  throw std::logic_error("left out");
}

Grammar LarkToGrammar(const std::string&, const std::optional<TokenizerInfo>&, const std::vector<NamedGrammar>&) {
  throw std::logic_error("left out");
}

std::string RegexToEBNF(const std::string&, bool) { throw std::logic_error("left out"); }

Result<Grammar, StructuralTagError> StructuralTagToGrammar(const std::string&, const std::optional<TokenizerInfo>&) {
  throw std::logic_error("left out");
}

}  // namespace xgrammar

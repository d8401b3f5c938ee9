// The words of JSON Schema that the grammar knows, and how what is wrong with a schema is said.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "json_grammar.hpp"

namespace qjl::server {

// A place in a schema: "#/properties/a".
using Place = std::string;
std::string step(const Place& place, std::string_view word);  // one further, as a JSON pointer

[[noreturn]] void refuse_word(const Place& place, std::string_view word, const std::string& why);
[[noreturn]] void wrong_schema(const Place& place, const std::string& found, const std::string& wanted);

// Refuses every keyword that is neither one of `enforced` nor an annotation; `beside` names what they stand beside.
void accept_words(const Json& schema, const Place& place, std::initializer_list<std::string_view> enforced,
                  std::string_view beside = {});
// Keywords and the type that they are of, where a schema names none.
struct TypeWords {
  std::string_view type;
  std::vector<std::string_view> words;
};
const std::vector<TypeWords>& type_words();

// The same as accept_words() for a schema of types: `type`, and the keywords of each.
void accept_typed_words(const Json& schema, const Place& place);

// A keyword's value, null where it is absent.
const Json* word(const Json& schema, std::string_view name);
// A whole number from 0 on. Errors: as of wrong_schema().
std::int64_t count_word(const Json& schema, const Place& place, std::string_view name, std::int64_t absent);

}  // namespace qjl::server

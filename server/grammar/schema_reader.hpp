// One schema being read: places in it to rules of one grammar.
#pragma once

#include <deque>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "json_grammar.hpp"
#include "schema_words.hpp"

namespace qjl::server {

class SchemaReader {
 public:
  using Part = Grammar::Part;
  SchemaReader(const Json& root, Grammar& grammar) : root_(root), g_(grammar), json_(grammar) {}

  // schema.cpp: the whole.
  Part read();

 private:
  // schema.cpp
  Part value(const Json& schema, const Place& place);
  Part reference(const Json& schema, const Place& place);
  Part alternatives(const Json& schema, const Place& place, std::string_view name);
  Part listed(const Json& schema, const Place& place);
  Part typed(const Json& schema, const Place& place);

  // schema_types.cpp
  Part string_part(const Json& schema, const Place& place);
  Part number_part(const Json& schema, const Place& place, bool is_whole);
  Part array_part(const Json& schema, const Place& place);
  Part object_part(const Json& schema, const Place& place);

  // An object's members: those that have names, in order, then others.
  struct Members {
    struct Named {
      Part part;
      bool is_required;
    };
    std::vector<Named> named;
    std::vector<std::string_view> names;
    const Json* others = nullptr;  // their schema; null: none
    std::int64_t most_others = Grammar::kNoLimit;
  };
  Members members(const Json& schema, const Place& place);
  void add_member(Members& all, std::string_view name, Part value, bool is_required);
  Part others_part(const Members& all, const Place& place);
  Part in_order(const Members& all, std::optional<Part> other);

  const Json& root_;
  Grammar& g_;
  JsonGrammar json_;
  std::map<std::string, Part> references_;                   // rules by what they refer to
  std::deque<std::pair<const Json*, std::string>> pending_;  // referred to, not read yet
  std::size_t ways_ = 0;                                     // of all anyOf and oneOf
};

// What `$ref` names: a place of this document. Errors: as of refuse_word() and wrong_schema().
const Json& referred(const Json& root, const Json& reference, const Place& place);

// disjoint.cpp: whether no value is valid under both schemas, as far as their types, constants and tags of objects tell.
bool are_disjoint(const Json& root, const Json& a, const Json& b);

}  // namespace qjl::server

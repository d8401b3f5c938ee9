// JSON Schema to a grammar of JSON texts that are valid under it.
//
// Every text of the grammar validates; not every text that validates is in it: properties come in the schema's order, others only where
// additionalProperties says so, and a schema that names no type is one of the kind that its keywords are of. A keyword that is not
// enforced is refused by name, wherever in the schema it stands; annotations are passed over.
#pragma once

#include <string>

#include "json_grammar.hpp"

namespace qjl::server {

// `schema` as it was sent, at most 64 brackets deep. Errors: unsupported, what is not enforced; invalid_argument, what is no schema, or
// has no value. Messages name the keyword and where it stands.
std::string schema_grammar(const Json& schema);
// Any JSON object.
std::string object_grammar();

}  // namespace qjl::server

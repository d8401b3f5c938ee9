// What a request took, in OpenAI's words and in ours.
#pragma once

#include "fields.hpp"
#include "request.hpp"

namespace qjl::server {

// Adds a prompt's usage to an answer's. Bits of the sum: bytes over tokens.
void add_usage(engine::Usage& sum, const engine::Usage& usage);
Json usage_json(const engine::Usage& usage);

}  // namespace qjl::server

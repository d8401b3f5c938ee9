// The conversation of a request, as the model's template writes it.
#pragma once

#include <vector>

#include "service.hpp"

namespace qjl::server {

// Reads `messages`, `add_generation_prompt`, `continue_final_message` and `chat_template_kwargs`. A message's content is a text, a
// list of text parts, or null. Refused: other parts, unknown roles, what the template refuses; all as `messages`.
std::vector<engine::ChatPiece> chat_pieces(const ServedModel& model, Fields& fields);
// The same as token ids: no word of a message is ever a control token.
std::vector<engine::Token> chat_tokens(const ServedModel& model, Fields& fields);

}  // namespace qjl::server

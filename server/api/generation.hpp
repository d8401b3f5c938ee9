// What both generating endpoints read alike, and the answer that they share: choices of text, whole or as a stream.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "choice_text.hpp"
#include "service.hpp"

namespace qjl::server {

// The fields of a request that are no prompt.
struct Generation {
  engine::Request request;  // everything but the prompt and the listener
  std::vector<std::string> stops;
  bool streams = false, includes_usage = false, returns_ids = false;
  std::vector<std::string> ignored;  // fields that nobody knows
};
// Reads what both endpoints know, and refuses what neither does. The endpoint reads its own fields before it asks for `ignored`.
Generation read_generation(const ServedModel& model, Fields& fields);
// response_format.cpp: `response_format`, whose grammar is compiled here where it is new. After `ignores_end` is read.
void read_format(const ServedModel& model, Fields& fields, engine::Request& request);

// The JSON of one endpoint.
class AnswerForm {
 public:
  virtual ~AnswerForm() = default;
  virtual std::string id_prefix() const = 0;
  virtual std::string object(bool stream) const = 0;
  // One choice of a whole answer, without `index` and `finish_reason`.
  virtual Json whole(const Choice& choice) const = 0;
  // One piece of a stream.
  virtual Json piece(const Choice& choice, const TextPiece& piece, bool is_first) const = 0;
};

// One prompt of an answer.
struct Prompt {
  std::vector<engine::Token> tokens;
  std::string text = {};  // what echo repeats
  bool echoes = false;
};

struct Asked {
  Generation generation;
  std::vector<Prompt> prompts = {};  // at least one, none empty
};
// The bodies of /v1/completions and /v1/chat/completions. Errors: Refused, with the field's name.
Asked read_completion(const ServedModel& model, const std::string& body);
Asked read_chat(const ServedModel& model, const std::string& body);

// Asks the scheduler and answers. All prompts are taken or none.
void generate(Service& service, const Call& call, Asked asked, std::unique_ptr<AnswerForm> form);

}  // namespace qjl::server

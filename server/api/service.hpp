// The endpoints over one model: what they share, and the way of a request from its path to its answer.
//
//   handle (I/O thread) -> GET: answered there, from snapshots;  POST, DELETE: a worker reads the body and asks the scheduler,
//   answers come from the engine's thread
#pragma once

#include <atomic>
#include <cstdint>
#include <ctime>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "chat.hpp"
#include "fields.hpp"
#include "message.hpp"
#include "sampler.hpp"
#include "scheduler.hpp"
#include "tokenizer.hpp"
#include "workers.hpp"

namespace qjl::server {

struct ServiceConfig {
  std::string name;                      // of the model, as clients say it
  engine::SamplingConfig sampling = {};  // where a request says nothing
  bool has_seed = false;                 // else every request that names none draws its own
  std::int64_t max_tokens = -1;          // the same for its length; -1: as each endpoint does
  engine::ChatJson template_variables = engine::ChatJson::object();
};

// One request that is being answered.
struct Call {
  Request request;
  std::shared_ptr<Reply> reply;
};

class Service {
 public:
  // All are the caller's and outlive it.
  Service(const engine::Tokenizer& tokenizer, const engine::ChatTemplate& chat, engine::Scheduler& scheduler, ServiceConfig config);

  void handle(Request request, std::shared_ptr<Reply> reply);
  // From now on requests are refused with 503. Any thread.
  void drain() { draining_ = true; }
  bool is_draining() const { return draining_; }

  const engine::Tokenizer& tokenizer() const { return tokenizer_; }
  const engine::ChatTemplate& chat() const { return chat_; }
  engine::Scheduler& scheduler() { return scheduler_; }
  const ServiceConfig& config() const { return config_; }
  std::time_t created() const { return created_; }
  Workers& workers() { return workers_; }

  // Ids of models: the name for the first cache type, name@type for each further one (and, in requests, for the first).
  std::string model_id(int cache_type) const;
  // Of a request's field; absent: 0. Refused: 404 model_not_found.
  int cache_type(Fields& fields) const;

  // A prompt as text, with bos where the model wants one; special tokens written in it count, as in other servers' completions.
  std::vector<engine::Token> prompt_tokens(const std::string& text) const;

 private:
  void run(const Call& call, void (*endpoint)(Service&, const Call&));

  const engine::Tokenizer& tokenizer_;
  const engine::ChatTemplate& chat_;
  engine::Scheduler& scheduler_;
  const ServiceConfig config_;
  const std::time_t created_ = std::time(nullptr);
  std::atomic<bool> draining_ = false;
  Workers workers_{2};  // last: it ends first
};

// What the scheduler refused, as an answer: 400, 429 with Retry-After, 503. `fields`: names of the request's fields by the
// scheduler's, where they differ.
Fault refusal_fault(const engine::Refusal& refusal);

// A JSON answer; x-request-id of the request comes back with it.
void send_json(const Call& call, const Json& json, Headers headers = {});
// x-request-id, and what nobody asked for.
Headers answer_headers(const Call& call, const std::vector<std::string>& ignored);

// An endpoint a function, by subject.
void get_health(Service& service, const Call& call);  // routes.cpp
void get_models(Service& service, const Call& call);  // models.cpp
void get_model(Service& service, const Call& call);   // models.cpp
void get_props(Service& service, const Call& call);   // models.cpp
void post_completions(Service& service, const Call& call);
void post_chat(Service& service, const Call& call);
void post_tokenize(Service& service, const Call& call);        // tokens.cpp
void post_detokenize(Service& service, const Call& call);      // tokens.cpp
void get_tokenizer_info(Service& service, const Call& call);   // tokens.cpp
void post_apply_template(Service& service, const Call& call);  // tokens.cpp
void get_metrics(Service& service, const Call& call);
void get_cache(Service& service, const Call& call);
void get_prefixes(Service& service, const Call& call);   // prefixes.cpp
void post_prefix(Service& service, const Call& call);    // prefixes.cpp
void delete_prefix(Service& service, const Call& call);  // prefixes.cpp
void post_damage(Service& service, const Call& call);
void get_page(Service& service, const Call& call);

}  // namespace qjl::server

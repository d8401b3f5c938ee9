// The endpoints over one model: what they share, and the way of a request from its path to its answer.
//
//   handle (I/O thread) -> GET: answered there, from snapshots;  POST, DELETE: a worker reads the body and asks the scheduler,
//   answers come from the engine's thread
#pragma once

#include <atomic>
#include <cstdint>
#include <ctime>
#include <memory>
#include <string>
#include <vector>

#include "fields.hpp"
#include "message.hpp"
#include "scheduler.hpp"
#include "served_model.hpp"
#include "workers.hpp"

namespace qjl::server {

// One request that is being answered.
struct Call {
  Request request;
  std::shared_ptr<Reply> reply;
};

class Service {
 public:
  // Both are the caller's and outlive it.
  Service(const ServedModel& model, engine::Scheduler& scheduler) : model_(model), scheduler_(scheduler) {}

  void handle(Request request, std::shared_ptr<Reply> reply);
  // From now on requests are refused with 503. Any thread.
  void drain() { draining_ = true; }
  bool is_draining() const { return draining_; }

  const ServedModel& model() const { return model_; }
  engine::Scheduler& scheduler() { return scheduler_; }
  std::time_t created() const { return created_; }
  std::int64_t max_model_len(int cache_type) const;  // tokens of one request
  Workers& workers() { return workers_; }

 private:
  void run(const Call& call, void (*endpoint)(Service&, const Call&));

  const ServedModel& model_;
  engine::Scheduler& scheduler_;
  const std::time_t created_ = std::time(nullptr);
  std::atomic<bool> draining_ = false;
  std::atomic<std::size_t> body_bytes_ = 0;  // of requests that wait for a worker or are read
  Workers workers_{2};                       // last: it ends first
};

// Status 500, without a reason.
Fault internal_fault();
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

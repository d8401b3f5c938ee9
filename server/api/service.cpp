// What every endpoint does with requests, refusals and answers.
#include "service.hpp"

#include <algorithm>
#include <cmath>

#include "qjl/error.hpp"

namespace qjl::server {

void Service::run(const Call& call, void (*endpoint)(Service&, const Call&)) {
  const auto fail = [&](Fault fault) {
    for (auto& header : answer_headers(call, {})) fault.headers.push_back(std::move(header));
    call.reply->send(fault_response(fault));
  };
  try {
    endpoint(*this, call);
  } catch (const Refused& refused) {
    fail(refused.fault());
  } catch (const Error& error) {
    // The engine's words of a caller's fault name no file; other kinds may.
    const bool theirs = error.kind() == ErrorKind::invalid_argument || error.kind() == ErrorKind::unsupported;
    if (theirs) return fail({.status = 400, .message = error.what(), .code = "invalid_value"});
    fail(internal_fault());
  } catch (const std::exception&) {
    fail(internal_fault());
  }
}

std::int64_t Service::max_model_len(int cache_type) const {
  return std::min(scheduler_.config().context, scheduler_.capacity_tokens(cache_type));
}

Fault internal_fault() { return {.status = 500, .message = "the server failed to answer this request", .code = "internal_error"}; }

Fault refusal_fault(const engine::Refusal& refusal) {
  switch (refusal.kind) {
    case engine::Refusal::Kind::invalid:
      return {.status = 400, .message = refusal.message, .param = refusal.field, .code = "invalid_value"};
    case engine::Refusal::Kind::too_long: return {.status = 400, .message = refusal.message, .code = "context_length_exceeded"};
    case engine::Refusal::Kind::queue_full: {
      const auto seconds = std::to_string(static_cast<std::int64_t>(std::ceil(std::max(1.0, refusal.retry_seconds))));
      return {.status = 429, .message = refusal.message, .code = "queue_full", .headers = {{"Retry-After", seconds}}};
    }
    case engine::Refusal::Kind::draining:
      return {.status = 503, .message = refusal.message, .code = "draining", .headers = {{"Retry-After", "5"}}};
  }
  return {.status = 500, .message = refusal.message};
}

Headers answer_headers(const Call& call, const std::vector<std::string>& ignored) {
  Headers headers;
  if (const auto id = call.request.header("x-request-id"); !id.empty()) headers.emplace_back("x-request-id", id.substr(0, 256));
  std::string names;
  for (const auto& name : ignored) names += (names.empty() ? "" : ", ") + name;
  if (!names.empty()) headers.emplace_back("x-qjl-ignored", names);
  return headers;
}

void send_json(const Call& call, const Json& json, Headers headers) {
  for (auto& header : answer_headers(call, {})) headers.push_back(std::move(header));
  call.reply->send({.body = dump(json), .headers = std::move(headers)});
}

}  // namespace qjl::server

// Paths to endpoints; what is not here says so, and what is.
#include <algorithm>
#include <array>

#include "service.hpp"

namespace qjl::server {
namespace {

constexpr std::size_t kMostBodyBytes = std::size_t{256} << 20;  // of all requests that wait for a worker

// A path that ends in / takes one more segment.
struct Route {
  std::string_view method, path;
  void (*endpoint)(Service&, const Call&);
};
constexpr std::array kRoutes = {
    Route{"GET", "/", get_page},
    Route{"GET", "/health", get_health},
    Route{"GET", "/v1/models", get_models},
    Route{"GET", "/v1/models/", get_model},
    Route{"POST", "/v1/completions", post_completions},
    Route{"POST", "/v1/chat/completions", post_chat},
    Route{"POST", "/tokenize", post_tokenize},
    Route{"POST", "/detokenize", post_detokenize},
    Route{"GET", "/tokenizer_info", get_tokenizer_info},
    Route{"POST", "/apply-template", post_apply_template},
    Route{"GET", "/props", get_props},
    Route{"GET", "/metrics", get_metrics},
    Route{"GET", "/cache", get_cache},
    Route{"GET", "/cache/prefixes", get_prefixes},
    Route{"POST", "/cache/prefixes", post_prefix},
    Route{"DELETE", "/cache/prefixes/", delete_prefix},
    Route{"POST", "/cache/damage", post_damage},
};

// Endpoints of OpenAI, Anthropic, Ollama and llama-server that clients may ask for: known, not done.
constexpr std::array kElsewhere = {
    "/v1/embeddings", "/v1/responses",   "/v1/messages",    "/v1/audio",      "/v1/images",  "/v1/files",
    "/v1/batches",    "/v1/fine_tuning", "/v1/moderations", "/v1/assistants", "/v1/threads", "/v1/rerank",
    "/v1/realtime",   "/api/",           "/completion",     "/embedding",     "/embeddings", "/infill",
    "/rerank",        "/reranking",      "/slots",          "/lora-adapters", "/v1/uploads", "/v1/vector_stores"};

bool matches(const Route& route, std::string_view path) {
  if (route.path.size() == 1 || !route.path.ends_with('/')) return route.path == path;
  const auto rest = path.substr(std::min(path.size(), route.path.size()));
  return path.starts_with(route.path) && !rest.empty();
}

std::string our_paths() {
  std::string all;
  std::string_view last;
  for (const Route& route : kRoutes) {
    if (route.path == last) continue;
    all.append(all.empty() ? "" : " ").append(route.path);
    last = route.path;
  }
  return all;
}

Fault no_such_path(const Request& request) {
  const bool known =
      std::any_of(kElsewhere.begin(), kElsewhere.end(), [&](std::string_view path) { return request.path.starts_with(path); });
  return {.status = known ? 501 : 404,
          .message = "found " + request.method + " " + describe(Json(request.path)) + ", which this server does not have; it has " +
                     our_paths(),
          .code = known ? "not_implemented" : "not_found"};
}

Fault wrong_method(const Request& request, const std::string& allowed) {
  return {.status = 405,
          .message = "found " + request.method + " on " + request.path + ", wanted " + allowed,
          .code = "method_not_allowed",
          .headers = {{"Allow", allowed}}};
}

}  // namespace

void Service::handle(Request request, std::shared_ptr<Reply> reply) {
  const auto shared = std::make_shared<const Call>(Call{std::move(request), std::move(reply)});
  const Call& call = *shared;
  const std::string_view method = call.request.method == "HEAD" ? "GET" : std::string_view(call.request.method);
  const Route* chosen = nullptr;
  std::string allowed;
  for (const Route& route : kRoutes) {
    if (!matches(route, call.request.path)) continue;
    if (route.method == method) chosen = &route;
    allowed.append(allowed.empty() ? "" : ", ").append(route.method);
  }
  if (chosen == nullptr) {
    auto fault = allowed.empty() ? no_such_path(call.request) : wrong_method(call.request, allowed);
    for (auto& header : answer_headers(call, {})) fault.headers.push_back(std::move(header));
    return call.reply->send(fault_response(fault));
  }
  if (method == "GET") return run(call, chosen->endpoint);
  if (draining_)
    return call.reply->send(fault_response(
        refusal_fault({.kind = engine::Refusal::Kind::draining, .message = "the server ends, it takes no more requests"})));
  const std::size_t bytes = call.request.body.size();
  if (body_bytes_ + bytes > kMostBodyBytes) {
    return call.reply->send(fault_response({.status = 503,
                                            .message = "found requests of many bytes that wait to be read, wanted fewer",
                                            .code = "too_many_bytes",
                                            .headers = {{"Retry-After", "1"}}}));
  }
  body_bytes_ += bytes;
  workers_.post([this, shared, bytes, endpoint = chosen->endpoint] {
    run(*shared, endpoint);
    body_bytes_ -= bytes;
  });
}

void get_health(Service& service, const Call& call) {
  if (service.is_draining()) throw Refused(refusal_fault({.kind = engine::Refusal::Kind::draining, .message = "the server ends"}));
  send_json(call, {{"status", "ok"}});
}

}  // namespace qjl::server

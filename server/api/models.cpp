// What is served: the model once for each cache type, and its properties.
#include "qjl/config.hpp"
#include "service.hpp"

namespace qjl::server {
namespace {

Json model_json(Service& service, int cache_type, const engine::Accounts& accounts) {
  const auto& cache = accounts.caches.at(static_cast<std::size_t>(cache_type));
  return {{"id", service.model().model_id(cache_type)},
          {"object", "model"},
          {"created", service.created()},
          {"owned_by", "qjl"},
          {"max_model_len", service.max_model_len(cache_type)},
          {"qjl", {{"cache_type", cache.name}, {"bits_sealed", cache.bits_sealed}, {"capacity_tokens", cache.capacity_tokens}}}};
}

}  // namespace

void get_models(Service& service, const Call& call) {
  const auto accounts = service.scheduler().accounts();
  Json list = Json::array();
  for (std::size_t i = 0; i < accounts.caches.size(); ++i) list.push_back(model_json(service, static_cast<int>(i), accounts));
  send_json(call, {{"object", "list"}, {"data", list}});
}

void get_model(Service& service, const Call& call) {
  const Json asked = {{"model", call.request.path.substr(std::string_view("/v1/models/").size())}};
  Fields fields(asked);
  send_json(call, model_json(service, service.model().cache_type(fields), service.scheduler().accounts()));
}

void get_props(Service& service, const Call& call) {
  const auto& config = service.scheduler().config();
  const auto& sampling = service.model().config().sampling;
  Json caches = Json::array();
  for (const auto& cache : service.scheduler().accounts().caches) {
    caches.push_back({{"cache_type", cache.name},
                      {"bits_sealed", cache.bits_sealed},
                      {"capacity_tokens", cache.capacity_tokens},
                      {"capacity_tokens_f16", cache.capacity_tokens_f16}});
  }
  send_json(call, {{"model", service.model().config().name},
                   {"default_generation_settings",
                    {{"n_ctx", config.context},
                     {"params",
                      {{"temperature", sampling.temperature},
                       {"top_k", sampling.top_k},
                       {"top_p", sampling.top_p},
                       {"min_p", sampling.min_p},
                       {"repeat_penalty", sampling.repeat_penalty}}}}},
                   {"total_slots", config.parallel},
                   {"chat_template", service.model().tokenizer().data().chat_template},
                   {"chunk", config.chunk},
                   {"max_queue", config.max_queue},
                   {"reproducible", config.is_reproducible},
                   {"caches", caches}});
}

}  // namespace qjl::server

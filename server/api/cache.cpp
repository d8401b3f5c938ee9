// GET /cache: every byte by kind, pages, what f16 would hold, and a line for each sequence.
#include "service.hpp"

namespace qjl::server {
namespace {

Json bytes_json(const engine::CacheAccount& cache) {
  const MemoryReport& memory = cache.memory;
  return {{"sealed_pages", memory.sealed_pages},
          {"free_pages", memory.free_pages},
          {"sinks", memory.sinks},
          {"tails", memory.tails},
          {"page_tables", memory.page_tables},
          {"codec_tables", memory.codec_tables},
          {"scratch", memory.scratch},
          {"recurrent", memory.recurrent},
          {"total", memory.total()}};
}

Json cache_json(Service& service, std::size_t type, const engine::CacheAccount& cache) {
  return {{"model", service.model().model_id(static_cast<int>(type))},
          {"cache_type", cache.name},
          {"bits_sealed", cache.bits_sealed},
          {"bytes", bytes_json(cache)},
          {"budget_bytes", cache.budget_bytes},
          {"parked_bytes", cache.parked_bytes},
          {"tokens", cache.memory.num_tokens},
          {"page_bytes", cache.page_bytes},
          {"pages",
           {{"used", cache.pages_used},
            {"idle", cache.pages_idle},
            {"free", cache.pages_free},
            {"total", cache.pages_used + cache.pages_idle + cache.pages_free}}},
          {"capacity_tokens", cache.capacity_tokens},
          {"capacity_tokens_f16", cache.capacity_tokens_f16},
          {"prefix_hits", cache.prefix_hits},
          {"prefix_hit_tokens", cache.prefix_hit_tokens},
          {"prefix_misses", cache.prefix_misses},
          {"evicted_pages", cache.evicted_pages},
          {"parked", cache.parked}};
}

Json sequence_json(Service& service, const engine::SequenceAccount& sequence) {
  return {{"request", sequence.request},
          {"choice", sequence.choice},
          {"state", engine::state_name(sequence.state)},
          {"model", service.model().model_id(sequence.cache_type)},
          {"prompt_tokens", sequence.prompt_tokens},
          {"cached_tokens", sequence.cached_tokens},
          {"generated_tokens", sequence.generated_tokens},
          {"held_tokens", sequence.held_tokens},
          {"own_pages", sequence.own_pages},
          {"shared_pages", sequence.shared_pages},
          {"age_seconds", sequence.age_seconds}};
}

}  // namespace

void get_cache(Service& service, const Call& call) {
  const auto accounts = service.scheduler().accounts();
  Json caches = Json::array(), sequences = Json::array();
  for (std::size_t i = 0; i < accounts.caches.size(); ++i) caches.push_back(cache_json(service, i, accounts.caches[i]));
  for (const auto& sequence : accounts.sequences) sequences.push_back(sequence_json(service, sequence));
  send_json(
      call,
      {{"caches", caches},
       {"requests",
        {{"waiting", accounts.waiting}, {"reading", accounts.reading}, {"running", accounts.running}, {"parked", accounts.parked}}},
       {"prompt_tokens", accounts.prompt_tokens},
       {"cached_tokens", accounts.cached_tokens},
       {"generated_tokens", accounts.generated_tokens},
       {"computed_tokens", accounts.computed_tokens},
       {"weight_bytes", accounts.weight_bytes},
       {"scratch_bytes", accounts.scratch_bytes},
       {"sequences", sequences}});
}

}  // namespace qjl::server

// GET /metrics: the accounts in Prometheus' text form.
#include <string>

#include "service.hpp"

namespace qjl::server {
namespace {

class Text {
 public:
  void family(const std::string& name, const char* type, const char* help) {
    name_ = "qjl_" + name;
    text_ += "# HELP " + name_ + " " + help + "\n# TYPE " + name_ + " " + type + "\n";
  }
  void value(double value, const std::string& labels = {}, const std::string& suffix = {}) {
    text_ += name_ + suffix + (labels.empty() ? "" : "{" + labels + "}") + " " + Json(value).dump() + "\n";
  }
  void one(const std::string& name, const char* type, const char* help, double number) {
    family(name, type, help);
    value(number);
  }
  void histogram(const std::string& name, const char* help, const engine::Histogram& histogram) {
    family(name, "histogram", help);
    std::int64_t below = 0;
    for (std::size_t i = 0; i < engine::Histogram::kUpper.size(); ++i) {
      below += histogram.counts[i];
      value(static_cast<double>(below), "le=\"" + Json(engine::Histogram::kUpper[i]).dump() + "\"", "_bucket");
    }
    value(static_cast<double>(histogram.count()), "le=\"+Inf\"", "_bucket");
    value(histogram.sum, {}, "_sum");
    value(static_cast<double>(histogram.count()), {}, "_count");
  }
  std::string take() { return std::move(text_); }

 private:
  std::string text_, name_;
};

// In a label: what would end it is escaped.
std::string label(const std::string& name, const std::string& value) { return name + "=" + dump(Json(value)); }

using CacheNumber = double (*)(const engine::CacheAccount&);
struct CacheFamily {
  const char *name, *type, *help;
  CacheNumber number;
};
constexpr CacheFamily kCacheFamilies[] = {
    {"cache_bytes", "gauge", "every byte of the cache", [](const auto& c) { return static_cast<double>(c.memory.total()); }},
    {"cache_budget_bytes", "gauge", "what it may take", [](const auto& c) { return static_cast<double>(c.budget_bytes); }},
    {"cache_parked_bytes", "gauge", "of parked sequences", [](const auto& c) { return static_cast<double>(c.parked_bytes); }},
    {"cache_bits_sealed", "gauge", "bits a number in a sealed page", [](const auto& c) { return c.bits_sealed; }},
    {"pages_used", "gauge", "pages of requests", [](const auto& c) { return static_cast<double>(c.pages_used); }},
    {"pages_idle", "gauge", "pages of prefixes alone", [](const auto& c) { return static_cast<double>(c.pages_idle); }},
    {"pages_free", "gauge", "pages without tokens", [](const auto& c) { return static_cast<double>(c.pages_free); }},
    {"capacity_tokens", "gauge", "tokens that fit", [](const auto& c) { return static_cast<double>(c.capacity_tokens); }},
    {"prefix_hits_total", "counter", "prompts that found a prefix",
     [](const auto& c) { return static_cast<double>(c.prefix_hits); }},
    {"evicted_pages_total", "counter", "idle pages given up", [](const auto& c) { return static_cast<double>(c.evicted_pages); }},
};

}  // namespace

void get_metrics(Service& service, const Call& call) {
  const auto accounts = service.scheduler().accounts();
  const auto number = [](std::int64_t value) { return static_cast<double>(value); };
  Text text;
  text.family("requests", "gauge", "requests and choices now, by state");
  text.value(number(accounts.waiting), label("state", "waiting"));
  text.value(number(accounts.reading), label("state", "reading"));
  text.value(number(accounts.running), label("state", "running"));
  text.value(number(accounts.parked), label("state", "parked"));
  text.family("requests_total", "counter", "requests that ended, by outcome");
  text.value(number(accounts.done), label("outcome", "done"));
  text.value(number(accounts.cancelled), label("outcome", "cancelled"));
  text.value(number(accounts.drained), label("outcome", "drained"));
  text.value(number(accounts.failed), label("outcome", "failed"));
  text.value(number(accounts.refused), label("outcome", "refused"));
  text.one("prompt_tokens_total", "counter", "tokens of prompts", number(accounts.prompt_tokens));
  text.one("cached_tokens_total", "counter", "of these, found in shared prefixes", number(accounts.cached_tokens));
  text.one("generated_tokens_total", "counter", "tokens made", number(accounts.generated_tokens));
  text.one("computed_tokens_total", "counter", "rows that passed through the model", number(accounts.computed_tokens));
  text.one("steps_total", "counter", "passes of the engine", number(accounts.steps));
  text.one("parkings_total", "counter", "sequences that gave their pages up for a while", number(accounts.parkings));
  text.histogram("time_to_first_token_seconds", "from arrival to the first token", accounts.first_token);
  text.histogram("time_per_token_seconds", "between two tokens of an answer", accounts.per_token);
  for (const CacheFamily& family : kCacheFamilies) {
    text.family(family.name, family.type, family.help);
    for (const auto& cache : accounts.caches) text.value(family.number(cache), label("cache_type", cache.name));
  }
  call.reply->send({.type = "text/plain; version=0.0.4; charset=utf-8", .body = text.take(), .headers = answer_headers(call, {})});
}

}  // namespace qjl::server

// The loop of requests: each job is made once and timed whenever it is asked for.
#include "serve.hpp"

#include <exception>
#include <iostream>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>

#include "exact_rival.hpp"
#include "qjl_case.hpp"
#include "rounds.hpp"

namespace qjl::bench {
namespace {

class AttentionServer {
 public:
  AttentionServer() : evictor_(last_level_cache_bytes()) {
    for (const int threads : {1, 2}) {
      if (auto pool = pinned_pool(threads)) pools_[threads] = std::move(pool);
    }
  }

  Json answer(const Json& request) {
    const QjlShape shape{request.at("cache"),
                         request.at("head_dim"),
                         request.at("kv_heads"),
                         request.at("tokens"),
                         request.value("rope", std::vector<double>()),
                         request.value("layers", 1)};
    const int group = request.at("group"), threads = request.at("threads");
    const auto pool = pools_.find(threads);
    if (pool == pools_.end())
      throw std::runtime_error("[serve] found " + std::to_string(threads) + " threads, wanted processors for them");
    if (request.contains("steps")) return {{"seconds", our_case(shape).steps(group, request.at("steps"), *pool->second)}};
    Call& call = find(shape, group, *pool->second);
    evictor_.evict();
    const double start = now_seconds();
    call.run();
    return {{"seconds", now_seconds() - start}, {"bytes", call.bytes}};
  }

 private:
  struct Call {
    std::function<void()> run;
    std::int64_t bytes = 0;
  };

  static std::string name_of(const QjlShape& shape) {
    return shape.cache_type + " " + std::to_string(shape.head_dim) + " " + std::to_string(shape.kv_heads) + " " +
           std::to_string(shape.tokens) + " " + std::to_string(shape.rope.size()) + " " + std::to_string(shape.layers);
  }

  QjlCase& our_case(const QjlShape& shape) {
    auto& our = cases_[name_of(shape)];
    if (our == nullptr) our = std::make_unique<QjlCase>(shape, *pools_.rbegin()->second);
    return *our;
  }

  Call& find(const QjlShape& shape, int group, ThreadPool& pool) {
    const std::string name = name_of(shape) + " " + std::to_string(group) + " " + std::to_string(pool.num_threads());
    if (const auto found = calls_.find(name); found != calls_.end()) return found->second;
    Call call = shape.cache_type.starts_with("exact_") ? exact(shape, group, pool) : ours(shape, group, pool);
    call.run();
    return calls_[name] = std::move(call);
  }

  Call ours(const QjlShape& shape, int group, ThreadPool& pool) {
    QjlCase& our = our_case(shape);
    return {[&our, group, &pool] { our.attend(group, pool); }, our.bytes()};
  }

  Call exact(const QjlShape& shape, int group, ThreadPool& pool) {
    const std::int64_t numbers = 2 * shape.tokens * shape.kv_heads * shape.head_dim;
    if (memory_.bytes() < static_cast<std::size_t>(numbers) * 2) {
      calls_.clear();
      memory_ = random_bf16(numbers);
    }
    const ExactJob job{shape.head_dim, group, shape.kv_heads, shape.tokens, memory_.as<std::uint16_t>()};
    const auto layout = shape.cache_type == "exact_pairs" ? ExactLayout::pairs : ExactLayout::rows;
    if (exact_kernels(layout, shape.head_dim, group).empty()) throw std::runtime_error(kNoExactRivals);
    const ExactChoice choice = find_best({&layout, 1}, job, &evictor_, pool);
    const auto queries = exact_queries(job);
    const auto out = std::make_shared<std::vector<float>>(queries.size());
    return {[=, &pool] { attend_exact(job, choice, queries.data(), out->data(), pool); }, numbers * 2};
  }

  Evictor evictor_;
  std::map<int, std::unique_ptr<ThreadPool>> pools_;
  HugeBuffer memory_;
  std::map<std::string, std::unique_ptr<QjlCase>> cases_;
  std::map<std::string, Call> calls_;
};

}  // namespace

void answer_lines(const std::function<Json(const Json&)>& answer) {
  for (std::string line; std::getline(std::cin, line);) {
    Json reply;
    try {
      reply = answer(Json::parse(line));
    } catch (const std::exception& error) {
      reply = {{"error", error.what()}};
    }
    std::cout << reply.dump() << std::endl;
  }
}

void serve_attention() {
  AttentionServer server;
  answer_lines([&](const Json& request) { return server.answer(request); });
}

}  // namespace qjl::bench

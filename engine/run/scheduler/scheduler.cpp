// The engine's thread, and the door before it. What both sides see stands under one mutex; the batch is the thread's alone.
#include "scheduler.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include "batch.hpp"
#include "damage.hpp"
#include "prefix_store.hpp"
#include "qjl/error.hpp"

namespace qjl::engine {
namespace {

constexpr double kSnapshotSeconds = 0.1;  // accounts are at most so old while the engine works

[[noreturn]] void refuse(const std::string& text) { throw Error(ErrorKind::invalid_argument, "[scheduler] " + text); }

SchedulerConfig completed(SchedulerConfig config, const Model& model) {
  const auto number = [](std::int64_t n) { return std::to_string(n); };
  if (config.cache_types.empty()) refuse("found no cache type, wanted at least one");
  if (config.context == 0) config.context = model.config().context_length;
  if (config.context < 2 || config.context > kMostContext)
    refuse("context is " + number(config.context) + ", wanted 2 to " + number(kMostContext));
  if (config.parallel < 1) refuse("parallel is " + number(config.parallel) + ", wanted at least 1");
  if (config.chunk < kTokensPerPage || config.chunk % kTokensPerPage != 0)
    refuse("chunk is " + number(config.chunk) + ", wanted a multiple of " + number(kTokensPerPage));
  if (config.max_queue < 0) refuse("max_queue is " + number(config.max_queue) + ", wanted 0 or more");
  if (config.prefix_dir_bytes < 0) refuse("prefix_dir_bytes is " + number(config.prefix_dir_bytes) + ", wanted 0 or more");
  if (config.prefix_dir_bytes > 0 && config.prefix_dir.empty()) refuse("found prefix_dir_bytes without prefix_dir, wanted both");
  if (!config.prefix_dir.empty() && model.config().recurrent_numbers() > 0)
    refuse("found prefix_dir for a model whose layers keep a recurrent state, wanted none: saved prefixes do not hold it");
  return config;
}

}  // namespace

struct Scheduler::State {
  State(Model& the_model, const Tokenizer& tokenizer, ThreadPool& the_threads, const SchedulerConfig& wanted)
      : model(the_model),
        threads(the_threads),
        config(completed(wanted, the_model)),
        num_tokens(std::min<std::int64_t>(the_model.config().vocab_size, tokenizer.vocab_size())),
        batch(the_model, tokenizer, the_threads, config) {
    for (int type = 0; type < std::ssize(config.cache_types); ++type) capacity.push_back(batch.cache(type).capacity_tokens());
    if (!config.prefix_dir.empty()) {
      store = std::make_unique<PrefixStore>(model, tokenizer, config, batch.caches());
      batch.use_store(store.get());
    }
    snapshot = batch.accounts();
  }

  std::optional<Refusal> check(const Request& request) const;
  std::variant<std::vector<Ticket>, Refusal> submit(std::vector<std::unique_ptr<Job>> jobs);
  std::unique_ptr<Job> job_of(Request request);
  void run();
  bool take_arrivals();
  void count();
  bool step();
  bool save_idle();
  void measure();
  double retry_seconds() const;

  Model& model;
  ThreadPool& threads;
  const SchedulerConfig config;
  const std::int64_t num_tokens;  // ids that prompts may have
  Batch batch;
  std::unique_ptr<PrefixStore> store;
  std::vector<std::int64_t> capacity;  // tokens of one sequence, by type

  const std::shared_ptr<Bell> bell = std::make_shared<Bell>();

  mutable std::mutex mutex;  // of what follows
  std::condition_variable all_ended;
  std::deque<std::unique_ptr<Job>> inbox;
  std::deque<std::unique_ptr<DamageRun>> damages;
  Accounts snapshot;
  std::int64_t next_id = 1, refused = 0;
  std::int64_t num_waiting = 0, num_active = 0;  // of the batch, as of its last step
  double seconds_per_request = 1.0;              // between requests that leave the queue, of late
  Clock::time_point last_left = Clock::now(), snapshot_at{};
  bool is_draining = false, is_over = false, was_cut = false;
  std::optional<Clock::time_point> deadline;
  std::thread thread;
};

void Ticket::cancel() const {
  if (!state_) return;
  state_->is_cancelled = true;
  state_->bell->ring();
}

std::optional<Refusal> Scheduler::State::check(const Request& r) const {
  if (std::optional<Refusal> refusal = check_numbers(r, num_tokens, static_cast<int>(std::ssize(config.cache_types))))
    return refusal;
  const std::int64_t prompt = std::ssize(r.prompt),
                     most = std::min(config.context, capacity[static_cast<std::size_t>(r.cache_type)]);
  // Without a limit there is room for one token at least; a prompt that is only read may fill everything.
  const std::int64_t answer = r.max_tokens < 0 ? 1 : r.max_tokens;
  if (answer <= most - prompt) return std::nullopt;
  Refusal refusal{Refusal::Kind::too_long, "", r.max_tokens > 0 && prompt < most ? "max_tokens" : "prompt", 0, most};
  refusal.found = answer > most ? answer : prompt + answer;  // no sum of huge numbers
  refusal.message = "the prompt has " + std::to_string(prompt) + " tokens and " + std::to_string(answer) +
                    " more are wanted, a request holds at most " + std::to_string(most) + " tokens";
  return refusal;
}

std::unique_ptr<Job> Scheduler::State::job_of(Request request) {
  auto job = std::make_unique<Job>();
  job->request = std::move(request);
  job->ticket = std::make_shared<TicketState>();
  job->ticket->bell = bell;
  job->arrival = Clock::now();
  return job;
}

// What the queue's own speed promises to somebody who comes now. The caller holds the mutex.
double Scheduler::State::retry_seconds() const {
  const auto waiting = static_cast<double>(num_waiting + std::ssize(inbox) + 1 - config.max_queue);
  return std::clamp(std::ceil(std::max(1.0, waiting) * seconds_per_request), 1.0, 120.0);
}

std::variant<std::vector<Ticket>, Refusal> Scheduler::State::submit(std::vector<std::unique_ptr<Job>> jobs) {
  const std::lock_guard lock(mutex);
  for (const std::unique_ptr<Job>& job : jobs) {
    if (std::optional<Refusal> refusal = check(job->request)) return ++refused, *refusal;
  }
  if (is_draining) return ++refused, Refusal{Refusal::Kind::draining, "the server is about to stop and takes no more requests"};
  const std::int64_t waiting = num_waiting + std::ssize(inbox), places = std::max<std::int64_t>(0, config.parallel - num_active);
  if (waiting >= config.max_queue + places) {
    Refusal full{
        Refusal::Kind::queue_full,
        std::to_string(waiting) + " requests wait, wanted at most " + std::to_string(config.max_queue) + ": try again later", "",
        waiting, config.max_queue};
    full.retry_seconds = retry_seconds();
    return ++refused, full;
  }
  std::vector<Ticket> tickets;
  for (std::unique_ptr<Job>& job : jobs) {
    job->id = next_id++;
    Ticket& ticket = tickets.emplace_back();
    ticket.id_ = job->id;
    ticket.state_ = job->ticket;
    inbox.push_back(std::move(job));
  }
  bell->ring();
  return tickets;
}

// How many are in, and how fast they leave: a moving mean over the last requests.
void Scheduler::State::count() {
  const std::lock_guard lock(mutex);
  const std::int64_t before = num_active + num_waiting;
  num_waiting = static_cast<std::int64_t>(batch.num_waiting());
  num_active = static_cast<std::int64_t>(batch.num_active());
  const std::int64_t left = before - num_active - num_waiting;
  if (left <= 0) return;
  const double each = seconds_between(last_left, Clock::now()) / static_cast<double>(left);
  for (std::int64_t i = 0; i < left; ++i) seconds_per_request += 0.2 * (each - seconds_per_request);
  last_left = Clock::now();
}

// Returns whether the thread goes on.
bool Scheduler::State::take_arrivals() {
  std::unique_lock lock(mutex);
  for (; !inbox.empty(); inbox.pop_front(), ++num_waiting) batch.submit(std::move(inbox.front()));
  if (!is_draining) return true;
  const bool is_idle = num_active + num_waiting == 0 && damages.empty();
  if (!is_idle && Clock::now() >= *deadline) {
    was_cut = true;
    lock.unlock();
    batch.end_all(End::Kind::drained, "the server stops");
    lock.lock();
    for (const std::unique_ptr<DamageRun>& damage : damages) damage->end("the server stops");
    damages.clear();
    num_active = num_waiting = 0;
  } else if (!is_idle) {
    return true;
  }
  return false;
}

// One chunk of the first text whose damage is asked for.
void Scheduler::State::measure() {
  DamageRun* first = nullptr;
  {
    const std::lock_guard lock(mutex);
    if (damages.empty()) return;
    first = damages.front().get();
  }
  if (first->step(model, threads)) return;
  const std::lock_guard lock(mutex);
  damages.pop_front();
}

// What no request answers for (memory, at most) ends them all; the scheduler goes on.
bool Scheduler::State::step() {
  try {
    return batch.step();
  } catch (const std::exception& error) {
    batch.end_all(End::Kind::failed, error.what());
    return true;
  }
}

// A file that cannot be written is no reason to try again at once: the next idle moment does.
bool Scheduler::State::save_idle() {
  if (!store || config.prefix_dir_bytes == 0) return false;
  try {
    return store->save_idle(batch.caches());
  } catch (const std::exception&) {
    return false;
  }
}

void Scheduler::State::run() {
  while (take_arrivals()) {
    const bool has_worked = step();
    count();
    measure();
    const auto now = Clock::now();
    if (!has_worked || seconds_between(snapshot_at, now) >= kSnapshotSeconds) {
      Accounts accounts = batch.accounts();
      const std::lock_guard lock(mutex);
      snapshot = std::move(accounts);
      snapshot_at = now;
    }
    if (has_worked) continue;
    if (save_idle()) continue;
    {
      const std::lock_guard lock(mutex);
      if (!inbox.empty() || !damages.empty() || is_draining) continue;
    }
    bell->wait();
    const std::lock_guard lock(mutex);
    last_left = Clock::now();  // what went by in idleness is nobody's speed
  }
  Accounts accounts = batch.accounts();
  const std::lock_guard lock(mutex);
  snapshot = std::move(accounts);
  is_over = true;
  all_ended.notify_all();
}

Scheduler::Scheduler(Model& model, const Tokenizer& tokenizer, ThreadPool& threads, const SchedulerConfig& config)
    : state_(std::make_unique<State>(model, tokenizer, threads, config)) {
  state_->thread = std::thread([state = state_.get()] { state->run(); });
}

Scheduler::~Scheduler() {
  drain(0);
  state_->thread.join();
}

std::variant<Ticket, Refusal> Scheduler::submit(Request request) {
  std::vector<Request> one;
  one.push_back(std::move(request));
  auto answer = submit(std::move(one));
  if (auto* refusal = std::get_if<Refusal>(&answer)) return std::move(*refusal);
  return std::get<std::vector<Ticket>>(answer).front();
}

std::variant<std::vector<Ticket>, Refusal> Scheduler::submit(std::vector<Request> requests) {
  std::vector<std::unique_ptr<Job>> jobs;
  for (Request& request : requests) jobs.push_back(state_->job_of(std::move(request)));
  return state_->submit(std::move(jobs));
}

bool Scheduler::drain(double seconds) {
  std::unique_lock lock(state_->mutex);
  const auto deadline = Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
  if (!state_->deadline || deadline < *state_->deadline) state_->deadline = deadline;
  state_->is_draining = true;
  state_->bell->ring();
  state_->all_ended.wait(lock, [&] { return state_->is_over; });
  return !state_->was_cut;
}

bool Scheduler::is_draining() const {
  const std::lock_guard lock(state_->mutex);
  return state_->is_draining;
}

const SchedulerConfig& Scheduler::config() const { return state_->config; }
std::int64_t Scheduler::capacity_tokens(int cache_type) const { return state_->capacity.at(static_cast<std::size_t>(cache_type)); }

Accounts Scheduler::accounts() const {
  const std::lock_guard lock(state_->mutex);
  Accounts out = state_->snapshot;
  out.refused = state_->refused;
  out.waiting += std::ssize(state_->inbox);
  return out;
}

namespace {

// Tells how a prefix came to be, or why not.
class SaveListener : public Listener {
 public:
  explicit SaveListener(std::function<void(const PrefixInfo&)> done) : on_done_(std::move(done)) {}
  PrefixInfo info;

  bool on_token(int, const ScoredToken&, bool) override { return false; }
  void on_end(const End& end) override {
    if (end.kind != End::Kind::done) info.fault = end.message.empty() ? "cancelled" : end.message;
    if (on_done_) on_done_(info);
  }

 private:
  std::function<void(const PrefixInfo&)> on_done_;
};

}  // namespace

std::variant<Ticket, Refusal> Scheduler::save_prefix(const std::string& name, std::vector<Token> tokens, int cache_type,
                                                     std::function<void(const PrefixInfo&)> on_done) {
  PrefixStore::check_name(name);
  if (!state_->store) refuse("found no prefix_dir, wanted one to save prefixes in");
  const std::int64_t grain = state_->config.is_reproducible ? state_->config.chunk : kTokensPerPage;
  const auto whole = static_cast<std::size_t>(std::ssize(tokens) / grain * grain);
  if (whole == 0) {
    return Refusal{Refusal::Kind::invalid,
                   "prompt has " + std::to_string(tokens.size()) + " tokens, wanted at least " + std::to_string(grain), "prompt"};
  }
  tokens.resize(whole);
  auto listener = std::make_shared<SaveListener>(std::move(on_done));
  listener->info.name = name;
  Request request;
  request.prompt = std::move(tokens);
  request.max_tokens = 0;
  request.cache_type = cache_type;
  request.listener = listener;
  std::vector<std::unique_ptr<Job>> jobs;
  jobs.push_back(state_->job_of(std::move(request)));
  Job* job = jobs.front().get();
  job->on_read = [state = state_.get(), job, listener](TypedCache& typed, SequenceId sequence) {
    listener->info = state->store->save(listener->info.name, job->key(), job->request.prompt, typed, sequence);
  };
  auto answer = state_->submit(std::move(jobs));
  if (auto* refusal = std::get_if<Refusal>(&answer)) return std::move(*refusal);
  return std::get<std::vector<Ticket>>(answer).front();
}

std::vector<PrefixInfo> Scheduler::prefixes() const { return state_->store ? state_->store->list() : std::vector<PrefixInfo>(); }

bool Scheduler::remove_prefix(const std::string& name) {
  if (!state_->store) refuse("found no prefix_dir, wanted one with saved prefixes");
  PrefixStore::check_name(name);
  return state_->store->remove(name);
}

std::variant<Ticket, Refusal> Scheduler::measure_damage(std::vector<Token> tokens, int cache_type, std::int64_t chunk,
                                                        std::function<void(const Damage&, const std::string& error)> on_done) {
  State& s = *state_;
  Request request;
  request.prompt = tokens;
  request.max_tokens = 0;
  request.cache_type = cache_type;
  request.chunk = chunk;
  std::unique_ptr<Job> job = s.job_of(std::move(request));
  const std::lock_guard lock(s.mutex);
  if (std::optional<Refusal> refusal = s.check(job->request)) return *refusal;
  if (s.is_draining) return Refusal{Refusal::Kind::draining, "the server is about to stop and takes no more requests"};
  if (std::ssize(s.damages) >= std::max(1, s.config.max_queue)) {
    Refusal full{Refusal::Kind::queue_full, "too many texts wait to be measured: try again later", "", std::ssize(s.damages),
                 s.config.max_queue};
    full.retry_seconds = s.retry_seconds();
    return full;
  }
  Ticket ticket;
  ticket.id_ = s.next_id++;
  ticket.state_ = job->ticket;
  s.damages.push_back(std::make_unique<DamageRun>(s.config.cache_types[static_cast<std::size_t>(cache_type)], std::move(tokens),
                                                  chunk > 0 ? chunk : s.config.chunk, s.config.arithmetic, job->ticket,
                                                  std::move(on_done)));
  s.bell->ring();
  return ticket;
}

}  // namespace qjl::engine

// Walks a template's tree and prints. One interpreter makes one prompt.
//
// Work is counted: a node, an item or 16 bytes made is a step; more than kMaxWork of them, more output or deeper calls than allowed
// are a Fault. So a template that does not end, or doubles a text again and again, ends in an error within about a second.
#pragma once

#include <cstdint>
#include <ctime>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "object.hpp"
#include "syntax.hpp"
#include "text_hash.hpp"
#include "value.hpp"

namespace qjl::engine::jinja {

inline constexpr std::uint64_t kMaxWork = std::uint64_t{1} << 24;     // steps
inline constexpr std::size_t kMaxOutputBytes = std::size_t{1} << 26;  // of a prompt
inline constexpr int kMaxRunDepth = 600;                              // nodes and calls inside each other

// The names that a place sees: its own, then those around it.
struct Scope {
  std::shared_ptr<Scope> outer;
  std::unordered_map<std::string_view, Value, TextHash> names;
};

class Interpreter {
 public:
  // now: what strftime_now tells, local time.
  explicit Interpreter(std::tm now);

  // Errors: Fault.
  OriginText run(const Block& block, const Dict& given);
  int line() const { return line_; }  // of the node that was begun last
  const std::tm& now() const { return now_; }

  // For filters, tests, methods and functions.
  void spend(std::size_t steps);
  void spend_bytes(std::size_t bytes) { spend(1 + bytes / 16); }
  bool same(const Value& left, const Value& right);
  bool before(const Value& left, const Value& right);
  std::vector<Value> items_of(const Value& value);  // what a `for` goes through
  Value attribute(const Value& value, std::string_view name);
  Value item(const Value& value, const Value& key);
  Value call(const Value& callee, const Arguments& arguments);
  Value filter(std::string_view name, const Value& value, const Arguments& arguments);
  bool test(std::string_view name, const Value& value, const Arguments& arguments);
  OriginText print(const Value& value);  // str(value)

  template <typename Made, typename... Given>
  Made* make(Given&&... given) {
    spend(32);
    auto made = std::make_unique<Made>(std::forward<Given>(given)...);
    Made* object = made.get();
    objects_.push_back(std::move(made));
    return object;
  }

  // For macros and loops.
  Value run_macro(const Statement& macro, const std::shared_ptr<Scope>& closure, const Arguments& arguments);
  Value run_loop_again(const Statement& loop, const std::shared_ptr<Scope>& outer, const Value& over, int depth);

 private:
  enum class Flow : std::uint8_t { go_on, stop, skip };

  // A level deeper while it lives.
  class Descent {
   public:
    explicit Descent(Interpreter& run) : run_(run) {
      if (++run_.depth_ > kMaxRunDepth) {
        throw Fault("found calls deeper than " + std::to_string(kMaxRunDepth) + " inside each other, wanted less");
      }
    }
    ~Descent() { --run_.depth_; }
    Descent(const Descent&) = delete;
    Descent& operator=(const Descent&) = delete;

   private:
    Interpreter& run_;
  };
  Flow run_block(const Block& block);
  Flow run_statement(const Statement& statement);
  Flow run_branches(const Statement& statement);
  Flow run_loop(const Statement& statement, const Value& over, int depth);
  Flow run_loop_body(const Statement& statement, std::vector<Value> items, int depth);
  Flow run_captured(const Block& block, OriginText& captured);
  Flow run_inside(const Block& block, std::shared_ptr<Scope> scope);
  Flow run_with(const Statement& statement);
  void run_call_block(const Statement& statement);
  std::vector<Value> chosen_items(const Statement& statement, const Value& over);
  void assign(const Expression& target, const Value& value);
  void print_to_output(const Value& value);
  void make_room(std::size_t bytes);  // for more output

  Value evaluate(const Expression& expression);
  Value evaluate_inside(const Expression& expression);
  Value evaluate_name(const Expression& expression);
  Value evaluate_compare(const Expression& expression);
  Value evaluate_join(const Expression& expression);
  Value evaluate_conditional(const Expression& expression);
  Value evaluate_slice(const Expression& expression);
  Value evaluate_call(const Expression& expression, const Value* caller);
  Value evaluate_filters(const Expression& expression, const Value* block_text);
  Value evaluate_dict(const Expression& expression);
  std::vector<Value> evaluate_all(const std::vector<ExpressionPtr>& parts);
  Arguments evaluate_arguments(const CallSyntax& syntax);
  bool compare(Comparison comparison, const Value& left, const Value& right);

  std::tm now_;
  std::uint64_t work_ = 0;
  int depth_ = 0;
  int line_ = 1;
  OriginText* output_ = nullptr;
  std::shared_ptr<Scope> scope_;
  std::vector<std::unique_ptr<Object>> objects_;
};

}  // namespace qjl::engine::jinja

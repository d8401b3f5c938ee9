// /cache/prefixes: prompts that are kept in files by name, and found by every request that begins so.
#include "chat_prompt.hpp"
#include "service.hpp"

namespace qjl::server {
namespace {

constexpr std::size_t kMostName = 100;
constexpr std::string_view kPath = "/cache/prefixes/";

Json prefix_json(const engine::PrefixInfo& prefix) {
  return {{"name", prefix.name},
          {"cache_type", prefix.cache_type},
          {"tokens", prefix.tokens},
          {"bytes", prefix.bytes},
          {"chunk", prefix.chunk},
          {"named", prefix.is_named},
          {"fault", prefix.fault.empty() ? Json(nullptr) : Json(prefix.fault)}};
}

void need_folder(Service& service) {
  if (service.scheduler().config().prefix_dir.empty()) {
    throw Refused(
        {.status = 501, .message = "this server keeps no prefixes: it was started without --prefix-dir", .code = "no_prefix_dir"});
  }
}

std::string checked_name(const std::string& name) {
  const bool letters =
      name.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") == std::string::npos;
  if (name.empty() || name.size() > kMostName || name.starts_with('.') || !letters) {
    refuse_field("name", describe(Json(name)), "1 to " + std::to_string(kMostName) + " of A-Z a-z 0-9 . _ -, no dot first");
  }
  return name;
}

}  // namespace

void get_prefixes(Service& service, const Call& call) {
  Json list = Json::array();
  for (const auto& prefix : service.scheduler().prefixes()) list.push_back(prefix_json(prefix));
  send_json(call, {{"prefixes", list}});
}

void post_prefix(Service& service, const Call& call) {
  need_folder(service);
  const Json body = parse_body(call.request.body);
  Fields fields(body);
  const int cache_type = service.model().cache_type(fields);
  fields.required("name", "a name");
  const std::string name = checked_name(*fields.text("name"));
  if (fields.has("prompt") == fields.has("messages")) {
    refuse_field("prompt", fields.has("prompt") ? "both" : "neither", "one of `prompt` and `messages`");
  }
  std::vector<engine::Token> tokens;
  if (fields.has("messages")) {
    tokens = chat_tokens(service.model(), fields);
  } else {
    tokens = service.model().prompt_tokens(*fields.text("prompt"));
  }
  const auto headers = answer_headers(call, fields.unknown());
  auto taken = service.scheduler().save_prefix(
      name, std::move(tokens), cache_type, [reply = call.reply, headers](const engine::PrefixInfo& saved) {
        if (saved.fault.empty()) return reply->send({.status = 201, .body = dump(prefix_json(saved)), .headers = headers});
        reply->send(fault_response({.status = 500, .message = saved.fault, .code = "not_saved", .headers = headers}));
      });
  if (auto* refusal = std::get_if<engine::Refusal>(&taken)) throw Refused(refusal_fault(*refusal));
  call.reply->on_gone([ticket = std::get<engine::Ticket>(taken)] { ticket.cancel(); });
}

void delete_prefix(Service& service, const Call& call) {
  need_folder(service);
  const std::string name = checked_name(call.request.path.substr(kPath.size()));
  if (!service.scheduler().remove_prefix(name)) {
    throw Refused({.status = 404, .message = "found no prefix named " + name, .param = "name", .code = "not_found"});
  }
  send_json(call, {{"name", name}, {"deleted", true}});
}

}  // namespace qjl::server

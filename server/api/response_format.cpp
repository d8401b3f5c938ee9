// response_format: text, any JSON object, or JSON that is valid under a schema. A form that is not kept to is refused rather than hoped
// for, and so is what contradicts one.
#include <utility>

#include "generation.hpp"
#include "qjl/error.hpp"
#include "schema.hpp"

namespace qjl::server {
namespace {

constexpr const char* kFormat = "response_format";
constexpr std::size_t kMostSchemaBytes = 64 << 10, kMostNameBytes = 64;

// Fields that nobody asked for: other servers' words for what would change the answer.
void refuse_unknown(const Fields& fields) {
  for (const auto& name : fields.unknown())
    refuse_field(kFormat, "the field `" + name + "`", "none of that name", "unsupported_parameter");
}

// The schema as one line.
std::pair<const Json*, std::string> read_schema(Fields& format) {
  auto fields = format.object("json_schema");
  if (!fields) refuse_field("response_format.json_schema", "nothing", "an object with `schema`", "missing_field");
  fields->text("name", kMostNameBytes);
  fields->text("description");
  fields->flag("strict");  // kept to in any case
  const Json& schema = fields->required("schema", "a JSON schema");
  refuse_unknown(*fields);
  if (!schema.is_object()) refuse_field("response_format.json_schema.schema", describe(schema), "an object");
  std::string text = dump(schema);
  if (text.size() > kMostSchemaBytes) {
    refuse_field(kFormat, "a schema of " + std::to_string(text.size()) + " bytes", "at most " + std::to_string(kMostSchemaBytes));
  }
  return {&schema, std::move(text)};
}

}  // namespace

void read_format(const ServedModel& model, Fields& fields, engine::Request& request) {
  auto format = fields.object(kFormat);
  if (!format) return;
  const std::string type = format->text("type").value_or("text");
  const std::string wanted = "text, json_object or json_schema";
  const bool is_object = type == "json_object", is_schema = type == "json_schema";
  if (type != "text" && !is_object && !is_schema) {
    refuse_field(kFormat, "type " + describe(Json(type)), wanted, "unsupported_parameter");
  }
  const auto schema = is_schema ? read_schema(*format) : std::pair<const Json*, std::string>{};
  refuse_unknown(*format);
  if (type == "text") return;
  if (grammar_library().empty()) {
    refuse_field(kFormat, "type " + type, "text: this build has no xgrammar (the build option QJL_XGRAMMAR)",
                 "unsupported_parameter");
  }
  if (request.ignores_end) refuse_field("ignore_eos", "true beside a response_format", "false: where a form ends its answer does");
  try {
    const auto grammar =
        model.grammars().get(schema.second, [&] { return is_object ? object_grammar() : schema_grammar(*schema.first); });
    request.make_mask = [grammar] { return grammar->start(); };
  } catch (const Error& error) {
    const bool is_unsupported = error.kind() == ErrorKind::unsupported;
    throw Refused({.status = 400,
                   .message = "field `response_format`: " + std::string(error.what()),
                   .param = kFormat,
                   .code = is_unsupported ? "unsupported_schema" : "invalid_schema"});
  }
}

}  // namespace qjl::server

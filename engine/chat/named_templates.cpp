// The formats as their publishers describe them (u user, a answer, s system; "|" is a new line):
//
//   chatml          <|im_start|>user|u<|im_end|>|<|im_start|>assistant|a<|im_end|>|
//   llama2          <s>[INST] <<SYS>>|s|<</SYS>>||u [/INST] a </s>
//   mistral         <s>[INST] s||u [/INST] a</s>        mistral-v3  [INST] u[/INST] a     mistral-tekken  [INST]u[/INST]a
//   llama3          <|begin_of_text|><|start_header_id|>user<|end_header_id|>||u<|eot_id|>
//   gemma           <bos><start_of_turn>user|s||u<end_of_turn>|<start_of_turn>model|a<end_of_turn>|
//   phi3            <|user|>|u<|end|>|<|assistant|>|a<|end|>|
//   raw             the contents, one after the other
//
// Where a format has no turn of the system, its words go before the first user's: the start of a conversation then never changes,
// and its cache can be kept.
#include "named_templates.hpp"

#include <algorithm>
#include <array>

namespace qjl::engine {
namespace {

// Sets `rest`, the messages without the system's, and `system`, none where there is none; refuses what does not take turns.
#define QJL_TURNS                                                                           \
  "{% set rest, system = messages, none %}"                                                 \
  "{% if messages and messages[0].role == 'system' %}"                                      \
  "{% set rest, system = messages[1:], messages[0].content %}{% endif %}"                   \
  "{% for m in rest %}{% if m.role != ('user' if loop.index0 % 2 == 0 else 'assistant') %}" \
  "{{ raise_exception('roles have to be user and assistant in turn') }}{% endif %}{% endfor %}"

#define QJL_MISTRAL(open, close, answer)                                                                 \
  QJL_TURNS "{{ '<s>' }}{% for m in rest %}{% if m.role == 'user' %}{{ '" open                           \
            "' + (system + '\\n\\n' if loop.first and system is not none else '') + m.content + '" close \
            "' }}{% else %}{{ '" answer "' + m.content + '</s>' }}{% endif %}{% endfor %}"

struct NamedTemplate {
  std::string_view name, text;
};

constexpr std::array<NamedTemplate, 9> kTemplates = {{
    {"chatml",
     "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content + '<|im_end|>\\n' }}{% endfor %}"
     "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"},
    {"llama2", QJL_TURNS "{% for m in rest %}{% if m.role == 'assistant' %}{{ ' %s </s>' % m.content.strip() }}{% else %}"
                         "{% set head = '<<SYS>>\\n' + system + '\\n<</SYS>>\\n\\n' if loop.first and system is not none else '' %}"
                         "<s>[INST] {{ (head + m.content).strip() }} [/INST]{% endif %}{% endfor %}"},
    {"llama3",
     "{% macro header(role) %}<|start_header_id|>{{ role }}<|end_header_id|>\n\n{% endmacro %}"
     "<|begin_of_text|>{% for m in messages %}{{ header(m.role) }}{{ m.content | trim }}<|eot_id|>{% endfor %}"
     "{% if add_generation_prompt %}{{ header('assistant') }}{% endif %}"},
    {"mistral", QJL_MISTRAL("[INST] ", " [/INST]", " ")},
    {"mistral-v3", QJL_MISTRAL("[INST] ", "[/INST]", " ")},
    {"mistral-tekken", QJL_MISTRAL("[INST]", "[/INST]", "")},
    {"gemma",
     QJL_TURNS "<bos>{% for m in rest %}<start_of_turn>{{ 'user' if m.role == 'user' else 'model' }}\n"
               "{{ system + '\\n\\n' if loop.first and system is not none }}{{ m.content | trim }}<end_of_turn>\n{% endfor %}"
               "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"},
    {"phi3",
     "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content + '<|end|>\\n' }}{% endfor %}"
     "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"},
    {"raw", "{% for m in messages %}{{ m.content }}{% endfor %}"},
}};

}  // namespace

std::string_view named_template(std::string_view name) {
  const auto* found = std::find_if(kTemplates.begin(), kTemplates.end(), [name](const auto& row) { return row.name == name; });
  return found == kTemplates.end() ? std::string_view() : found->text;
}

std::string template_names() {
  std::string names;
  for (const NamedTemplate& known : kTemplates) names.append(names.empty() ? "" : ", ").append(known.name);
  return names;
}

}  // namespace qjl::engine

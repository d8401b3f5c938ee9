// The verbs of the research: they measure caches, ours and the rivals', and choose plans.
#pragma once

#include "options.hpp"

namespace qjl::cli {

Verb add_eval(CLI::App& program);
Verb add_plan(CLI::App& program);
Verb add_study(CLI::App& program);
Verb add_inspect(CLI::App& program);

}  // namespace qjl::cli

// Projects queries once, before any page is read: rotated by the keys' frames, or sketched. See rotate/project.hpp.
#define QJL_THIS_FILE "project_query.cpp"
#ifndef QJL_PASS
#include "foreach_target.hpp"
#else

// clang-format off: each header of a pass needs those above it
#include "simd.hpp"
#include "rotate/lanes.hpp"
#include "rotate/rows.hpp"
#include "rotate/project.hpp"
// clang-format on

namespace qjl::cpu::QJL_NAMESPACE {

void project_query(const ProjectArgs& args) { project_rows(args); }

}  // namespace qjl::cpu::QJL_NAMESPACE

#endif

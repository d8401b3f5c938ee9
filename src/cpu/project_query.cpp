// Projects queries once, before any page is read: rotated by the keys' frames, or sketched. See rotate/project.hpp.
#define QJL_THIS_FILE "project_query.cpp"
#include "foreach_target.hpp"
#ifdef QJL_PASS

#include "args.hpp"
#include "rotate/project.hpp"

QJL_PASS_BEGIN
namespace qjl::cpu::QJL_NAMESPACE {

void project_query(const ProjectArgs& args) { project_rows(args); }

}  // namespace qjl::cpu::QJL_NAMESPACE
QJL_PASS_END

#endif

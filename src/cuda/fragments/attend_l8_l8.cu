// Attention with keys l8, values l8. See attend_fragments.cuh.
#include "attend_fragments.cuh"

namespace qjl::cuda {

void attend_l8_l8(const AttendWork& work) { launch_for_shape<KeyPath::l8, Code::l8>(work); }

}  // namespace qjl::cuda

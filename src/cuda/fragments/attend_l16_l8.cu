// Attention with keys l16, values l8. See attend_fragments.cuh.
#include "attend_fragments.cuh"

namespace qjl::cuda {

void attend_l16_l8(const AttendWork& work) { launch_for_shape<KeyPath::l16, Code::l8>(work); }

}  // namespace qjl::cuda

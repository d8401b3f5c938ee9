// Attention with keys l8, values l4. See attend_fragments.cuh.
#include "attend_fragments.cuh"

namespace qjl::cuda {

void attend_l8_l4(const AttendWork& work) { launch_for_shape<KeyPath::l8, Code::l4>(work); }

}  // namespace qjl::cuda

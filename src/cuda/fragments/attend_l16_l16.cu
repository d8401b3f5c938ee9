// Attention with keys l16, values l16. See attend_fragments.cuh.
#include "attend_fragments.cuh"

namespace qjl::cuda {

void attend_l16_l16(const AttendWork& work) { launch_for_shape<KeyPath::l16, Code::l16>(work); }

}  // namespace qjl::cuda

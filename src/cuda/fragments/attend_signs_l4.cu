// Attention with keys signs (s1, s2), values l4. See attend_fragments.cuh.
#include "attend_fragments.cuh"

namespace qjl::cuda {

void attend_signs_l4(const AttendWork& work) { launch_for_shape<KeyPath::bits, Code::l4>(work); }

}  // namespace qjl::cuda

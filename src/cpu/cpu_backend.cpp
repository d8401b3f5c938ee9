// One table of verbs per instruction set, chosen once.
#include "cpu_backend.hpp"

#include "scratch.hpp"

namespace qjl::cpu {

#define QJL_DECLARE_VERBS(target)                     \
  namespace target {                                  \
  void encode_keys(const EncodeArgs&);                \
  void encode_values(const EncodeArgs&);              \
  void project_query(const ProjectArgs&);             \
  void score(const ScoreArgs&);                       \
  void attend(const AttendArgs&, const AttendPiece&); \
  void decode(const DecodeArgs&);                     \
  }

namespace {
std::size_t encode_workspace_bytes(const CodecTables& tables) { return EncodeScratch(tables, nullptr).bytes; }
std::size_t attend_workspace_bytes(const CodecTables& tables) { return AttendScratch(tables, nullptr).bytes; }
}  // namespace

#define QJL_VERBS(target)                                                                                               \
  Backend {                                                                                                             \
    .name = "cpu " #target, .encode_keys = target::encode_keys, .encode_values = target::encode_values,                 \
    .project_query = target::project_query, .score = target::score, .decode = target::decode, .attend = target::attend, \
    .encode_workspace_bytes = encode_workspace_bytes, .attend_workspace_bytes = attend_workspace_bytes                  \
  }

QJL_DECLARE_VERBS(scalar)
#if defined(__x86_64__)
QJL_DECLARE_VERBS(avx2)
QJL_DECLARE_VERBS(avx512)
namespace avx512vbmi {  // the verbs that gain by it; the rest are those of avx512
void attend(const AttendArgs&, const AttendPiece&);
}  // namespace avx512vbmi
namespace avx512bf16 {
std::size_t chunk_workspace_bytes(int head_dim);
std::uint32_t pack_chunk(const ChunkArgs&, int kv_head, std::int64_t block);
void attend_chunk(const ChunkArgs&, const AttendPiece&);
}  // namespace avx512bf16
#elif defined(__aarch64__)
QJL_DECLARE_VERBS(neon)
namespace neon_dotprod {  // likewise
void attend(const AttendArgs&, const AttendPiece&);
}  // namespace neon_dotprod
#endif

const Backend& backend(SimdTarget target) {
  static const Backend scalar_verbs = QJL_VERBS(scalar);
#if defined(__x86_64__)
  static const Backend avx2_verbs = QJL_VERBS(avx2);
  static const Backend avx512_verbs = QJL_VERBS(avx512);
  static const Backend avx512vbmi_verbs = [] {
    Backend verbs = QJL_VERBS(avx512);
    verbs.name = "cpu avx512vbmi";
    verbs.attend = avx512vbmi::attend;
    if (!has_bf16_products()) return verbs;
    verbs.chunk_workspace_bytes = avx512bf16::chunk_workspace_bytes;
    verbs.pack_chunk = avx512bf16::pack_chunk;
    verbs.attend_chunk = avx512bf16::attend_chunk;
    return verbs;
  }();
  if (target == SimdTarget::avx512vbmi) return avx512vbmi_verbs;
  if (target == SimdTarget::avx512) return avx512_verbs;
  if (target == SimdTarget::avx2) return avx2_verbs;
#elif defined(__aarch64__)
  static const Backend neon_verbs = QJL_VERBS(neon);
  static const Backend neon_dotprod_verbs = [] {
    Backend verbs = QJL_VERBS(neon);
    verbs.name = "cpu neon_dotprod";
    verbs.attend = neon_dotprod::attend;
    return verbs;
  }();
  if (target == SimdTarget::neon_dotprod) return neon_dotprod_verbs;
  if (target == SimdTarget::neon) return neon_verbs;
#endif
  (void)target;
  return scalar_verbs;
}

const Backend& backend() {
  static const Backend& best = backend(simd_target());
  return best;
}

}  // namespace qjl::cpu

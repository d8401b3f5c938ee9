// One cache's figures as the fields of a JSON object.
#include "quality_json.hpp"

namespace qjl::cli {

nlohmann::ordered_json quality_json(const engine::EvalResult& r) {
  return {{"cache", r.cache},
          {"simulated", r.simulated},
          {"bits", r.bits},
          {"bits_sealed", r.bits_sealed},
          {"kld_mean", r.kld_mean},
          {"kld_se", r.kld_se},
          {"kld_median", r.kld_median},
          {"kld_p999", r.kld_p999},
          {"same_top1", r.same_top1},
          {"same_top1_se", r.same_top1_se},
          {"ppl", r.ppl},
          {"ppl_exact", r.ppl_exact},
          {"ppl_ratio_se", r.ppl_ratio_se},
          {"cache_mb", r.cache_mb},
          {"positions", r.positions},
          {"seconds", r.seconds},
          {"kld_by_page", r.kld_by_page}};
}

}  // namespace qjl::cli

// Attention of a piece straight from the bytes of its pages, by matrix products of whole numbers. See step.cuh.
//
// 256 threads, 4 kTiles rows. A step of eight pages meets twice: sums of weights are known; weights stand in shared memory. Lines
// of the mean are a step ahead, pages are asked for a step ahead, what a step needs of them is looked up two steps ahead.
#pragma once

#include <new>

#include "attend_work.cuh"
#include "finish.cuh"
#include "launcher.cuh"
#include "step.cuh"

namespace qjl::cuda {

// Sums of values [row][frame][channel]; rows are padded so that the four rows of a warp meet no bank twice.
constexpr int sums_stride(int d) { return layout::kFrames * d + 8; }

template <KeyPath kPath, int kDim, int kTiles>
struct FragmentStorage {
  static constexpr int kRows = kRowsOf<kTiles>;
  union {
    StepStorage<kPath, kDim, kTiles> step;
    alignas(16) float sums[kRows * sums_stride(kDim)];  // after the last step
  };
  Job job;  // read where it is needed: the loop over pages has no registers for it
  PageRange range;
  ExactResult<kRows, kDim> exact;
  RowState state[kRows];
  float warp_sum[kStepPages][kRows];
};

// The path that this device takes.
template <KeyPath kPath>
inline constexpr KeyPath kDevicePath = kPath == KeyPath::bits && !kNativeBits ? KeyPath::sign_bytes : kPath;

// Places of step n + 1 and n + 2 among the plans.
__device__ inline int next_turn(int turn) { return turn + 1 == kPlannedSteps ? 0 : turn + 1; }

// The step of pages `first` .. first + 7, by one warp: a lane looks one page up. No weight is known yet.
__device__ inline void plan_step(const Job& job, const PageRange& range, int first, StepPlan& plan) {
  const int i = lane_idx() % kStepPages, wanted = first + i, at = wanted < range.end ? wanted : range.end - 1;
  const layout::PageHead& head = head_at(job, at);
  float largest = head.value_scale_max;
#pragma unroll
  for (int mask = 1; mask < kStepPages; mask *= 2) largest = fmaxf(largest, __shfl_xor_sync(kAllLanes, largest, mask));
  if (lane_idx() < kStepPages) {
    const bool counts = wanted < range.end, whole = wanted >= range.whole_first && wanted < range.whole_end && head.num_sinks == 0;
    plan.page[i] = {body_at(job, at),
                    head.mean_scale,
                    head.key_scale_max,
                    head.value_scale_max,
                    head.num_sinks,
                    counts,
                    counts && whole && !(job.args.logit_soft_cap > 0.0f)};
  }
  if (lane_idx() < kStepPages) plan.largest_sum[lane_idx()] = 0;
  if (lane_idx() == 0) plan.value_scale_max = largest * kRoomForRounding;
}

// The pages of a step to come towards the second-level cache, by one warp.
__device__ inline void fetch_pages(const AttendLaunch& launch, const StepPlan& plan) {
  const auto bytes = static_cast<std::uint32_t>(launch.at.bytes);
  if (kBulkPrefetch && lane_idx() != 0) return;
#pragma unroll
  for (int i = 0; i < kStepPages; ++i) prefetch_page(plan.page[i].body, bytes);
}

// Everything that steps read and that no page decides: queries as planes and as fragments, tables, the plans of two steps, the
// lines of the first one.
template <KeyPath kPath, int kDim, int kTiles>
__device__ inline void prepare_steps(const Job& job, const PageRange& range, StepStorage<kPath, kDim, kTiles>& shared) {
  constexpr int kRows = kRowsOf<kTiles>;
  const float* query = shared.exact.query;
  const CodecTables& tables = job.tables();
  const int width = layout::key_coordinates(tables.shape);
  auto* projected = reinterpret_cast<float*>(shared.weights);  // free until the first step
  static_assert(sizeof(shared.weights) >= kRows * 2 * kDim * sizeof(float));
  for (std::size_t i = static_cast<std::size_t>(thread_idx()); i < sizeof(shared.mean); i += kStepThreads) shared.mean[i] = 0;
  for (std::size_t i = static_cast<std::size_t>(thread_idx()); i < sizeof(shared.planes); i += kStepThreads) shared.planes[i] = 0;
  for (int code = thread_idx(); code <= kScaleCodeMax; code += block_threads()) shared.scale_factor[code] = scale_of(code, 1.0f);
  if constexpr (kPath == KeyPath::bits || kPath == KeyPath::sign_bytes) {
    make_row_offsets<kDim>(job.launch.at.keys, layout::key_row_bytes(tables.shape.key, job.head_dim()), shared.row_offsets);
  }
  shared.dither[static_cast<unsigned>(thread_idx()) / 4] = dither_of_lane() * kUnitOfBase;
  if (const int row = thread_idx(); row < kRows) {
    shared.largest_logit[row] = kOrderOfNothing;
    shared.units[row].line_offset = 0.0f;
  }
  if (const int step = warp_idx(); step < 2) plan_step(job, range, range.first + step * kStepPages, shared.plans[step]);
  __syncthreads();
  if (warp_idx() == 2) fetch_pages(job.launch, shared.plans[0]);
  project_rows(tables, query, kRows, nullptr, projected);
  if (const int row = warp_idx(); row < kRows) {
    make_planes<kPath, kDim, kTiles>(projected + row * width, width, row, shared.planes, shared.units[row]);
    turn_query<kRows, kDim>(tables, query + row * job.head_dim(), row, shared.mean, shared.units[row]);
    if (lane_idx() == 0 && !(job.args.logit_soft_cap > 0.0f)) {  // logits in units of log 2 at once
      shared.units[row].step *= kLog2E;
      shared.units[row].offset *= kLog2E;
      shared.units[row].mean_step *= kLog2E;
    }
  }
  __syncthreads();
  const KnotMaker<kTiles, kDim> maker(shared.plans[0].page, shared.mean, shared.units, shared.knots);
  maker.warp_knots();
  if (warp_idx() == 0) maker.last_knots();
  __syncthreads();
}

// How far a block has come.
struct Step {
  int first;  // page
  int turn;   // number of the step mod kPlannedSteps
  bool move;  // references must move
};

// Logits of the warp's page, relative to the references.
template <KeyPath kPath, int kDim, int kTiles>
__device__ inline void page_logits(const Job& job, const AttendLaunch& launch, const Step& step,
                                   StepStorage<kPath, kDim, kTiles>& shared, const Running<kTiles, kDim>& running,
                                   LaneLogits<kTiles>& logit) {
  const int warp = warp_idx();
  const StepPage& page = shared.plans[step.turn].page[warp];
  KeySums<kTiles> sum;
  const std::uint8_t* body = page.body;
  decode_scales(body + launch.at.key_scales, page.value_scale_max, shared.scale_factor, shared.scales[warp]);
  key_sums<kPath, kDim, kTiles>(launch, shared, body, sum);
  finish_logits<kPath, kTiles>(page, shared.units, shared.knots + warp * kRowsOf<kTiles> * kKnotFloats, shared.scales[warp][0], sum,
                               logit);
  if (page.plain) return;
  if (job.args.logit_soft_cap > 0.0f) cap_logits<kTiles>(job, running.reference, logit);
  mask_logits<kTiles>(job, page, std::int64_t{step.first + warp} * layout::kPageTokens, logit);
}

// Weights of the warp's page; moves references first if the step says so, or if a weight would leave the range of fp32. The first
// step does: rows of a block are at most 8 positions apart, so that each sees a token of that step or of none. Ends with all
// threads together.
template <KeyPath kPath, int kDim, int kTiles>
__device__ inline void weigh_keys(const Job& job, const AttendLaunch& launch, Step& step, StepStorage<kPath, kDim, kTiles>& shared,
                                  Running<kTiles, kDim>& running, LaneWeights<kTiles>& weights) {
  int* of_rows = shared.plans[step.turn].largest_sum;
  for (;; step.move = true) {
    page_logits<kPath, kDim, kTiles>(job, launch, step, shared, running, weights.of);
    if (step.move) {
      move_references(job.args.logit_soft_cap > 0.0f, shared.largest_logit, shared.units, weights.of, running);
      step.move = false;
    }
    float sum[kTiles];
    take_weights<kTiles>(weights.of, of_rows, sum);
    __syncthreads();  // largest sums are there
    bool beyond = false;
#pragma unroll
    for (int tile = 0; tile < kTiles; ++tile) {
      weights.largest[tile] = __int_as_float(of_rows[lane_row<kTiles>(lane_part(), tile)]);
      beyond |= weights.largest[tile] > kLargestSum;
    }
    if (!__any_sync(kAllLanes, beyond)) {
#pragma unroll
      for (int tile = 0; tile < kTiles; ++tile) running.sum[tile] += sum[tile];
      return;
    }
    __syncthreads();
    if (thread_idx() < kRowsOf<kTiles>) of_rows[thread_idx()] = 0;
    __syncthreads();
  }
}

// The lane's parts of its frame, of pages t and t + 4.
template <Code kValue, int kDim>
struct FrameParts {
  static constexpr bool kWhole = kDim % kGroupChannels == 0;
  const std::uint8_t* at[2];
  int blocks;

  __device__ FrameParts(const AttendLaunch& launch, const StepPage (&pages)[kStepPages]) {
    const int d = kWhole ? kDim : launch.tables.shape.head_dim,
              frame = anew(warp_idx()) * layout::value_lines_per_frame(traits(kValue), d) * layout::kLineBytes;
    const auto offset =
        static_cast<std::uint32_t>(launch.at.values) + static_cast<std::uint32_t>(frame + ValueWords<kValue>::lane_offset());
    at[0] = pages[lane_part()].body + offset;
    at[1] = pages[lane_part() + 4].body + offset;
    blocks = d / 16;
  }
  __device__ void load(int u, ValueWords<kValue> (&words)[2]) const {
    words[0].template load<kWhole>(at[0], u, blocks);
    words[1].template load<kWhole>(at[1], u, blocks);
  }
};

// The softmax of each row from registers to shared memory. Begins and ends with all threads together.
template <KeyPath kPath, int kDim, int kTiles>
__device__ inline void gather(const Running<kTiles, kDim>& running, FragmentStorage<kPath, kDim, kTiles>& shared) {
  __syncthreads();
#pragma unroll
  for (int tile = 0; tile < kTiles; ++tile) {
    float sum = running.sum[tile];
#pragma unroll
    for (int mask = 4; mask < kWarpLanes; mask *= 2) sum += __shfl_xor_sync(kAllLanes, sum, mask);
    if (lane_idx() >= kTileRows) continue;
    const int row = lane_row<kTiles>(lane_idx(), tile);
    shared.warp_sum[warp_idx()][row] = sum;
    if (warp_idx() == 0) shared.state[row].reference = running.reference[tile];
  }
  __syncthreads();
  if (const int row = anew(thread_idx()); row < kRowsOf<kTiles>) {
    float sum = 0.0f;
    for (int warp = 0; warp < kStepPages; ++warp) sum += shared.warp_sum[warp][row];
    shared.state[row].sum = sum;
  }
}

// Sums of values from registers to shared memory.
template <int kTiles, int kDim>
__device__ inline void store_sums(const Running<kTiles, kDim>& running, int d, float* out) {
  const int g = lane_group(), t = lane_part();
#pragma unroll
  for (int i = 0; i < running.kGroups * kTiles * 2; ++i) {
    const int u = i / (2 * kTiles), tile = i / 2 % kTiles, half = i % 2;
    const int channel = kGroupChannels * u + kGroupChannels / 2 * (g / 4) + 4 * (g % 4) + 16 * half;
    const float(&of)[4] = running.values[u][tile][half];
    if (channel < d) {
      float* at = out + lane_row<kTiles>(t, tile) * sums_stride(d) + warp_idx() * d + channel;
      *reinterpret_cast<float4*>(at) = {of[0] * kUnitOfBase, of[1] * kUnitOfBase, of[2] * kUnitOfBase, of[3] * kUnitOfBase};
    }
  }
}

// All steps of the piece.
template <KeyPath kPath, Code kValue, int kDim, int kTiles>
__device__ inline void attend_pages(const Job& job, const AttendLaunch& launch, const PageRange& range,
                                    StepStorage<kPath, kDim, kTiles>& shared, Running<kTiles, kDim>& running) {
  Step step{range.first, 0, true};
#pragma unroll 1
  for (; step.first < range.end; step.first += kStepPages) {
    LaneWeights<kTiles> weights;
    float base[kTiles];
    const int next = next_turn(step.turn);
    weigh_keys<kPath, kDim, kTiles>(job, launch, step, shared, running, weights);
    const StepPlan& plan = shared.plans[step.turn];
#pragma unroll
    for (int tile = 0; tile < kTiles; ++tile) base[tile] = weight_base(weights.largest[tile] * plan.value_scale_max);
    store_weights<kTiles>(weights.of, base, shared.dither[static_cast<unsigned>(anew(thread_idx())) / 4],
                          shared.scales[warp_idx()][1], shared.weights);
    const KnotMaker<kTiles, kDim> maker(shared.plans[next].page, shared.mean, shared.units, shared.knots);
    maker.warp_knots();
    if (const int warp = warp_idx(); warp >= 5) {  // what one warp does for all
      if (warp == 5) maker.last_knots();
      if (warp == 6) fetch_pages(launch, shared.plans[next]);
      if (warp == 7) plan_step(job, range, step.first + 2 * kStepPages, shared.plans[next_turn(next)]);
    }
    const FrameParts<kValue, kDim> parts(launch, plan.page);
    ValueWords<kValue> words[2];
    parts.load(0, words);
    __syncthreads();  // weights are there
    WeightFragment fragments[kTiles];
    weight_fragments<kValue, kTiles>(shared.weights + weight_offset<kTiles>(), fragments);
#pragma unroll
    for (int u = 0; u < running.kGroups; ++u) {
      if (u > 0) parts.load(u, words);
      weigh_group<kValue, kTiles>(launch.value_bytes, words, fragments, base, running.values[u]);
    }
    step.turn = next;
  }
}

template <KeyPath kKeys, Code kValue, int kDim, int kTiles>
__global__ void __launch_bounds__(kStepThreads, kTiles == 1 && (kDim == kGroupChannels || kDim == 2 * kGroupChannels) ? 2 : 1)
    attend_fragments_kernel(const __grid_constant__ AttendLaunch launch) {
  constexpr KeyPath kPath = kDevicePath<kKeys>;
  auto& shared = shared_memory<FragmentStorage<kPath, kDim, kTiles>>();
  // Who am I.
  if (find_job(launch, kRowsOf<kTiles>).rows <= 0) return;
  if (thread_idx() == 0) {
    const Job found = find_job(launch, kRowsOf<kTiles>);
    new (&shared.job) Job(found);
    shared.range = visible_pages(found);
  }
  __syncthreads();
  const Job& job = shared.job;
  const PageRange& range = shared.range;
  // What is read once: exact rows, queries.
  attend_exact(job, shared.step.exact, shared.exact);
  Running<kTiles, kDim> running{};
#pragma unroll
  for (int tile = 0; tile < kTiles; ++tile) running.reference[tile] = kNothing;
  if (range.first < range.end) {
    prepare_steps<kPath, kDim, kTiles>(job, range, shared.step);
    // The loop.
    attend_pages<kPath, kValue, kDim, kTiles>(job, launch, range, shared.step, running);
  }
  // Reduce.
  gather(running, shared);
  store_sums(running, job.head_dim(), shared.sums);
  __syncthreads();
  // Store.
  finish_rows(job, {shared.exact.out, shared.exact.state}, shared.state,
              {shared.sums, job.rows, layout::kFrames, job.head_dim(), sums_stride(job.head_dim())});
}

// Signs may go either way on the device.
template <KeyPath kPath, int kDim, int kTiles>
constexpr std::size_t shared_bytes() {
  constexpr std::size_t kBytes = sizeof(FragmentStorage<kPath, kDim, kTiles>);
  if constexpr (kPath != KeyPath::bits) return kBytes;
  constexpr std::size_t kOther = sizeof(FragmentStorage<KeyPath::sign_bytes, kDim, kTiles>);
  return kBytes > kOther ? kBytes : kOther;
}

template <KeyPath kPath, Code kValue, int kDim, int kTiles>
void launch_fragments(const AttendWork& work) {
  constexpr int kRows = kRowsOf<kTiles>;
  launch("attend", attend_fragments_kernel<kPath, kValue, kDim, kTiles>,
         {static_cast<unsigned>(work.pieces), static_cast<unsigned>((work.rows + kRows - 1) / kRows), kStepThreads,
          shared_bytes<kPath, kDim, kTiles>()},
         work.stream, work.launched);
}

// Two tiles of rows when there are so many, but at head_dim 80 and 96 (kDim 96), where nothing is tuned, and at 256, where sums
// would not fit the registers.
template <KeyPath kPath, Code kValue>
void launch_for_shape(const AttendWork& work) {
  constexpr std::size_t kSmallDevice = 99 << 10;  // of a block on sm_86, 89 and 120
  constexpr int kOne = kGroupChannels, kOdd = 3 * kOne / 2, kTwo = 2 * kOne, kFour = 4 * kOne;
  static_assert(shared_bytes<kPath, kTwo, 2>() <= kSmallDevice && shared_bytes<kPath, kFour, 1>() <= kSmallDevice);
  const int d = work.launched.tables.shape.head_dim;
  const bool many = work.rows > kTileRows;
  if (d == kOne) return many ? launch_fragments<kPath, kValue, kOne, 2>(work) : launch_fragments<kPath, kValue, kOne, 1>(work);
  if (d <= kOdd) return launch_fragments<kPath, kValue, kOdd, 1>(work);
  if (d == kTwo) return many ? launch_fragments<kPath, kValue, kTwo, 2>(work) : launch_fragments<kPath, kValue, kTwo, 1>(work);
  launch_fragments<kPath, kValue, kFour, 1>(work);
}

}  // namespace qjl::cuda

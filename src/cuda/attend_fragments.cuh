// Attention of a piece straight from the bytes of its pages, by matrix products of whole numbers. See device/step.cuh.
//
// 256 threads, 4 kTiles rows. A step of eight pages meets three times: knots and sums done; maxima done; weights done. Pages of the
// step to come are asked for ahead.
#pragma once

#include "attend_work.cuh"
#include "device/finish.cuh"
#include "device/launcher.cuh"
#include "device/step.cuh"

namespace qjl::cuda {

// Sums of values [row][frame][channel]; rows are padded so that the four rows of a warp meet no bank twice.
constexpr int sums_stride(int d) { return layout::kFrames * d + 8; }

template <KeyPath kPath, int kGroups, int kTiles>
struct FragmentStorage {
  static constexpr int kRows = kTileRows * kTiles, kDim = kGroupChannels * kGroups;
  ExactResult<kRows, kDim> exact;
  RowState state[kRows];
  float warp_sum[kStepPages][kRows];
  alignas(16) float sums[kRows * sums_stride(kDim)];
  StepStorage<kPath, kDim, kRows> step;
};

// What a lane keeps over all pages, for rows 4 tile + t. Sums of its frame (the warp's) stand in shared memory, each number touched
// by one lane only: in registers they would not fit beside the scores.
template <int kTiles>
struct Running {
  float reference[kTiles], sum[kTiles];
};

// The place of the step before, which is that of the step after the next.
__device__ inline int before(int turn) { return turn == 0 ? kPlannedSteps - 1 : turn - 1; }

// The path that this device takes.
template <KeyPath kPath>
inline constexpr KeyPath kDevicePath = kPath == KeyPath::bits && !kNativeBits ? KeyPath::sign_bytes : kPath;

// The step of pages `first` .. first + 7, by one warp: a lane looks one page up.
__device__ inline void plan_step(const Job& job, const PageRange& range, int first, StepPlan& plan) {
  const int i = lane_idx() % kStepPages, wanted = first + i, at = wanted < range.end ? wanted : range.end - 1;
  const layout::PageHead& head = head_at(job, at);
  float largest = head.value_scale_max;
#pragma unroll
  for (int mask = 1; mask < kStepPages; mask *= 2) largest = fmaxf(largest, __shfl_xor_sync(kAllLanes, largest, mask));
  if (lane_idx() < kStepPages) {
    plan.page[i] = {body_at(job, at),     head.mean_scale,     head.key_scale_max,
                    head.value_scale_max, int{head.num_sinks}, wanted < range.end ? 1 : 0};
  }
  if (lane_idx() == 0) {
    plan.value_unit = largest > 0.0f ? kLargestWeight / largest : 0.0f;
    plan.value_step = largest * (1.0f / kLargestWeight);
  }
}

// The warp's page of a step to come, towards the second-level cache.
__device__ inline void fetch_page(const Job& job, const StepPage& page) {
  constexpr int kBytes = 2 * layout::kLineBytes;
  if (page.counts == 0) return;
#pragma unroll 1
  for (int at = lane_idx() * kBytes; at < static_cast<int>(job.launch.at.bytes); at += kWarpLanes * kBytes)
    prefetch_l2(page.body + at);
}

// Queries to planes, turned queries to fragments, the first step's pages.
template <KeyPath kPath, int kDim, int kRows>
__device__ inline void prepare_step(const Job& job, const PageRange& range, StepStorage<kPath, kDim, kRows>& shared) {
  const float* query = shared.exact.query;
  const CodecTables& tables = job.tables();
  const int width = layout::key_coordinates(tables.shape), rows = layout::key_row_bytes(tables.shape.key_code, job.head_dim());
  auto* projected = reinterpret_cast<float*>(shared.weights);  // free until the first step
  static_assert(sizeof(shared.weights) >= kRows * 2 * kDim * sizeof(float));
  for (std::size_t i = static_cast<std::size_t>(thread_idx()); i < sizeof(shared.mean); i += kStepThreads) shared.mean[i] = 0;
  for (std::size_t i = static_cast<std::size_t>(thread_idx()); i < sizeof(shared.planes); i += kStepThreads) shared.planes[i] = 0;
  for (int i = thread_idx(); i < 2 * 64; i += block_threads()) {
    const int row = i % 64 < rows ? i % 64 : rows - 1;
    shared.row_offset[i / 64][i % 64] = static_cast<int>(layout::key_row_offset(rows, i / 64, row));
  }
  if (thread_idx() == 0) shared.range = range;
  if (const int step = warp_idx(); step < 2) plan_step(job, range, range.first + step * kStepPages, shared.plans[step]);
  __syncthreads();
  fetch_page(job, shared.plans[0].page[warp_idx()]);
  fetch_page(job, shared.plans[1].page[warp_idx()]);
  project_rows(tables, query, kRows, nullptr, projected);
  if (const int row = warp_idx(); row < kRows) {
    make_planes<kPath, kDim>(projected + row * width, width, shared.planes + row * row_plane_bytes<kPath, kDim>(),
                             shared.units[row]);
    turn_query<kRows, kDim>(tables, query + row * job.head_dim(), row, shared.mean, shared.units[row]);
    if (lane_idx() == 0 && !(job.args.logit_soft_cap > 0.0f)) {  // logits in units of log 2 at once
      shared.units[row].step *= kLog2E;
      shared.units[row].mean_step *= kLog2E;
    }
  }
  __syncthreads();
}

// Scores and weights of the warp's page; moves the running softmax. factor[tile]: what older sums are multiplied with, and what
// sums of this step are.
template <int kTiles>
struct StepFactors {
  float older[kTiles], fresh[kTiles];
};
template <KeyPath kPath, int kDim, int kTiles>
__device__ inline StepFactors<kTiles> weigh_keys(const Job& job, int first, int turn,
                                                 StepStorage<kPath, kDim, kTileRows * kTiles>& shared, Running<kTiles>& running) {
  constexpr int kRows = kTileRows * kTiles;
  const int warp = warp_idx(), t = lane_idx() % 4;
  const StepPlan& plan = shared.plans[turn];
  const StepPage& page = plan.page[warp];
  LaneLogits<kTiles> logit;
  int sum[kTiles][4][4];
  mean_knots<kRows, kDim>(plan.page, shared.mean, shared.units, shared.knots);
  decode_scales(job, page, plan.value_unit, shared.scales[warp]);
  key_sums<kPath, kDim, kTiles>(job, shared, page, sum);
  __syncthreads();  // knots are there
  finish_scores<kTiles>(job, shared.units, shared.knots + warp * kRows * kKnotFloats, shared.scales[warp][0], sum, logit);
  const bool seen = first + warp >= shared.range.whole_first && first + warp < shared.range.whole_end;
  const bool whole = seen && page.counts != 0 && page.num_sinks == 0;
  if (!whole) mask_scores<kTiles>(job, page, std::int64_t{first + warp} * layout::kPageTokens, logit);
  reduce_page_max<kTiles>(logit, shared.page_max[warp]);
  if (warp == 0) plan_step(job, shared.range, first + 2 * kStepPages, shared.plans[before(turn)]);
  __syncthreads();  // maxima are there
  float reference[kTiles], fresh[kTiles];
#pragma unroll
  for (int tile = 0; tile < kTiles; ++tile) {
    reference[tile] = kNothing;
#pragma unroll
    for (int i = 0; i < kStepPages; ++i) reference[tile] = fmaxf(reference[tile], shared.page_max[i][kTileRows * tile + t]);
  }
  store_weights<kTiles>(logit, reference, shared.scales[warp][1], shared.weights, fresh);
  StepFactors<kTiles> factors;
#pragma unroll
  for (int tile = 0; tile < kTiles; ++tile) {
    const float moved = fmaxf(running.reference[tile], reference[tile]);
    factors.older[tile] = rescale(running.reference[tile], moved);
    const float scale = rescale(reference[tile], moved);
    factors.fresh[tile] = scale * plan.value_step;
    running.sum[tile] = fmaf(running.sum[tile], factors.older[tile], fresh[tile] * scale);
    running.reference[tile] = moved;
  }
  __syncthreads();  // weights are there
  return factors;
}

// Values of the warp's frame, eight pages, into sums.
template <Code kValue, int kGroups, int kTiles>
__device__ inline void weigh_values(const Job& job, const StepPage (&pages)[kStepPages], const std::uint8_t* weights,
                                    const StepFactors<kTiles>& factors, float* sums) {
  const int d = job.head_dim(), g = lane_idx() / 4, t = lane_idx() % 4, frame = warp_idx();
  const std::int64_t offset =
      job.launch.at.values + std::int64_t{frame} * layout::value_lines_per_frame(kValue, d) * layout::kLineBytes;
  const std::uint8_t *first = pages[t].body + offset, *second = pages[t + 4].body + offset;
  WeightFragments fragments[kTiles];
#pragma unroll
  for (int tile = 0; tile < kTiles; ++tile) {
    const std::uint8_t* at =
        weights + (kTileRows * tile + g / 2) * kRowWeightBytes + frame * kFrameWeightBytes + (2 * t + g % 2) * layout::kFrameSlots;
    fragments[tile] = weight_fragments<kValue>(at, at + 8 * layout::kFrameSlots);
  }
  [[maybe_unused]] constexpr int kUnrolled = kValue == Code::l16 ? 1 : 2;  // two groups of l16 in flight do not fit the registers
#pragma unroll kUnrolled
  for (int u = 0; u < kGroups; ++u) {
    ValueWords<kValue> words[2];
    words[0].template load<kGroups != 2>(first, u, d / 16);
    words[1].template load<kGroups != 2>(second, u, d / 16);
    int whole[kTiles][2][4];
    weigh_group<kValue, kTiles>(job.launch.value_bytes, words, fragments, whole);
#pragma unroll
    for (int i = 0; i < 2 * kTiles; ++i) {
      const int tile = i / 2, half = i % 2, channel = kGroupChannels * u + kGroupChannels / 2 * (g / 4) + 4 * (g % 4) + 16 * half;
      if (kGroups == 2 && channel >= d) continue;  // 80 and 96
      auto* at = reinterpret_cast<float4*>(sums + (kTileRows * tile + t) * sums_stride(d) + frame * d + channel);
      const auto add = [&](float older, int m) {
        return fmaf(older, factors.older[tile], static_cast<float>(whole[tile][half][m]) * factors.fresh[tile]);
      };
      const float4 older = *at;
      *at = {add(older.x, 0), add(older.y, 1), add(older.z, 2), add(older.w, 3)};
    }
  }
}

// The softmax of each row from registers to shared memory. Begins and ends with all threads together.
template <KeyPath kPath, int kGroups, int kTiles>
__device__ inline void gather(const Running<kTiles>& running, FragmentStorage<kPath, kGroups, kTiles>& shared) {
  const int t = lane_idx() % 4;
  __syncthreads();
#pragma unroll
  for (int tile = 0; tile < kTiles; ++tile) {
    float sum = running.sum[tile];
#pragma unroll
    for (int mask = 4; mask < kWarpLanes; mask *= 2) sum += __shfl_xor_sync(kAllLanes, sum, mask);
    if (lane_idx() >= 4) continue;
    shared.warp_sum[warp_idx()][kTileRows * tile + t] = sum;
    if (warp_idx() == 0) shared.state[kTileRows * tile + t].reference = running.reference[tile];
  }
  __syncthreads();
  if (const int row = thread_idx(); row < kTileRows * kTiles) {
    float sum = 0.0f;
    for (int warp = 0; warp < kStepPages; ++warp) sum += shared.warp_sum[warp][row];
    shared.state[row].sum = sum;
  }
  __syncthreads();
}

template <KeyPath kKeys, Code kValue, int kGroups, int kTiles>
__global__ void __launch_bounds__(kStepThreads, kTiles == 1 && kGroups <= 2 ? 2 : 1)
    attend_fragments_kernel(const __grid_constant__ AttendLaunch launch) {
  constexpr KeyPath kPath = kDevicePath<kKeys>;
  // Who am I.
  const Job job = find_job(launch, kTileRows * kTiles);
  if (job.rows <= 0) return;
  auto& shared = shared_memory<FragmentStorage<kPath, kGroups, kTiles>>();
  // What is read once: exact rows, queries.
  for (int i = thread_idx(); i < kTileRows * kTiles * sums_stride(job.head_dim()); i += block_threads()) shared.sums[i] = 0.0f;
  attend_exact(job, shared.step.exact, shared.exact);
  Running<kTiles> running{};
#pragma unroll
  for (int tile = 0; tile < kTiles; ++tile) running.reference[tile] = kNothing;
  const PageRange range = visible_pages(job);
  if (range.first < range.end) prepare_step<kPath>(job, range, shared.step);
  // The loop.
  int turn = 0;
#pragma unroll 1
  for (int first = range.first; first < range.end; first += kStepPages) {
    const auto factors = weigh_keys<kPath, kGroupChannels * kGroups>(job, first, turn, shared.step, running);
    fetch_page(job, shared.step.plans[before(turn)].page[warp_idx()]);
    weigh_values<kValue, kGroups>(job, shared.step.plans[turn].page, shared.step.weights, factors, shared.sums);
    turn = turn + 1 == kPlannedSteps ? 0 : turn + 1;
  }
  // Reduce.
  gather(running, shared);
  // Store.
  finish_rows(job, {shared.exact.out, shared.exact.state}, shared.state,
              {shared.sums, job.rows, layout::kFrames, job.head_dim(), sums_stride(job.head_dim())});
}

// Signs may go either way on the device.
template <KeyPath kPath, int kGroups, int kTiles>
constexpr std::size_t shared_bytes() {
  constexpr std::size_t kBytes = sizeof(FragmentStorage<kPath, kGroups, kTiles>);
  if constexpr (kPath != KeyPath::bits) return kBytes;
  constexpr std::size_t kOther = sizeof(FragmentStorage<KeyPath::sign_bytes, kGroups, kTiles>);
  return kBytes > kOther ? kBytes : kOther;
}

template <KeyPath kPath, Code kValue, int kGroups, int kTiles>
void launch_fragments(const AttendWork& work) {
  constexpr int kRows = kTileRows * kTiles;
  launch("attend", attend_fragments_kernel<kPath, kValue, kGroups, kTiles>,
         {static_cast<unsigned>(work.pieces), static_cast<unsigned>((work.rows + kRows - 1) / kRows), kStepThreads,
          shared_bytes<kPath, kGroups, kTiles>()},
         work.stream, work.launched);
}

// Two tiles of rows when there are so many and the device has shared memory for them: sm_86, 89 and 120 have not, at head_dim 128;
// none has at 256.
template <KeyPath kPath, Code kValue>
void launch_for_shape(const AttendWork& work) {
  constexpr std::size_t kSmallDevice = 99 << 10, kLargeDevice = 163 << 10;
  static_assert(shared_bytes<kPath, 1, 2>() <= kSmallDevice && shared_bytes<kPath, 2, 1>() <= kSmallDevice);
  static_assert(shared_bytes<kPath, 4, 1>() <= kSmallDevice && shared_bytes<kPath, 2, 2>() <= kLargeDevice);
  const int d = work.launched.tables.shape.head_dim;
  const bool many = work.rows > kTileRows && shared_bytes<kPath, 2, 2>() <= most_shared_bytes();
  if (d <= kGroupChannels)
    return work.rows > kTileRows ? launch_fragments<kPath, kValue, 1, 2>(work) : launch_fragments<kPath, kValue, 1, 1>(work);
  if (d <= 2 * kGroupChannels) {
    return many ? launch_fragments<kPath, kValue, 2, 2>(work) : launch_fragments<kPath, kValue, 2, 1>(work);
  }
  launch_fragments<kPath, kValue, 4, 1>(work);
}

}  // namespace qjl::cuda

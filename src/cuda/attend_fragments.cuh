// Attention of a piece straight from the bytes of its pages, by matrix products of whole numbers. See device/step.cuh.
//
// 256 threads, 4 kTiles rows. A step of eight pages meets three times: knots and sums done; maxima done; weights done. Accumulators
// stay in registers: frame = warp, [row of the lane][channels of the lane]. Pages of the step to come are asked for ahead.
#pragma once

#include "attend_work.cuh"
#include "device/finish.cuh"
#include "device/launcher.cuh"
#include "device/step.cuh"

namespace qjl::cuda {

template <KeyPath kPath, int kGroups, int kTiles>
struct FragmentStorage {
  static constexpr int kRows = kTileRows * kTiles, kDim = kGroupChannels * kGroups;
  ExactStorage<kRows, kDim> exact;
  RowState state[kRows];
  float warp_sum[kStepPages][kRows];
  union {
    StepStorage<kPath, kDim, kRows> step;
    float sums[kRows * layout::kFrames * kDim];
  };
};

// What a lane keeps over all pages, for rows 4 tile + t: softmax, and sums of its frame's channels 64 u + 32 (g / 4) + 4 (g % 4) +
// m, and 16 more for half 1.
template <int kGroups, int kTiles>
struct Running {
  float reference[kTiles], sum[kTiles];
  float channel[kTiles][kGroups][4][2];
};

// The path that this device takes.
template <KeyPath kPath>
inline constexpr KeyPath kDevicePath = kPath == KeyPath::bits && !kNativeBits ? KeyPath::sign_bytes : kPath;

__device__ inline void find_page(const Job& job, const PageRange& range, int i, StepPage& page) {
  const int at = i < range.end ? i : range.end - 1;
  const layout::PageHead& head = head_at(job, at);
  page = {body_at(job, at), head.mean_scale, head.key_scale_max, head.value_scale_max, head.num_sinks, i < range.end ? 1 : 0};
}

__device__ inline void fetch_page(const Job& job, const PageRange& range, int i) {
  constexpr int kBytes = 2 * layout::kLineBytes;
  if (i >= range.end) return;
  const std::uint8_t* body = body_at(job, i);
  for (std::int64_t at = lane_idx() * kBytes; at < job.launch.at.bytes; at += kWarpLanes * kBytes) prefetch_l2(body + at);
}

// Queries to planes, turned queries to fragments, the first step's pages.
template <KeyPath kPath, int kDim, int kRows>
__device__ inline void prepare_step(const Job& job, const float* query, const PageRange& range,
                                    StepStorage<kPath, kDim, kRows>& shared) {
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
  if (thread_idx() < kStepPages) find_page(job, range, range.first + thread_idx(), shared.pages[0][thread_idx()]);
  project_rows(tables, query, kRows, nullptr, projected);
  if (const int row = warp_idx(); row < kRows) {
    const int bytes =
        kPath == KeyPath::bits ? steps_of(width, kBitStepCoordinates) * kBitStepCoordinates : row_plane_bytes<kPath, kDim>();
    make_planes<kPath, kDim>(projected + row * width, width, shared.planes + row * bytes, shared.units[row]);
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
template <KeyPath kPath, int kDim, int kGroups, int kTiles>
__device__ inline StepFactors<kTiles> weigh_keys(const Job& job, const PageRange& range, int first,
                                                 StepStorage<kPath, kDim, kTileRows * kTiles>& shared,
                                                 Running<kGroups, kTiles>& running) {
  constexpr int kRows = kTileRows * kTiles;
  const int turn = (first - range.first) / kStepPages % 2, warp = warp_idx(), t = lane_idx() % 4;
  const StepPage& page = shared.pages[turn][warp];
  LaneLogits<kTiles> logit;
  int sum[kTiles][4][4];
  mean_knots<kRows, kDim>(shared.pages[turn], shared.mean, shared.units, shared.knots);
  const float largest = largest_value_scale(shared.pages[turn]);
  decode_scales(job, page, largest > 0.0f ? kLargestWeight / largest : 0.0f, shared.scales[warp]);
  key_sums<kPath, kDim, kTiles>(job, shared, page, sum);
  __syncthreads();  // knots are there
  finish_scores<kTiles>(job, shared.units, shared.knots + warp * kRows * kKnotFloats, shared.scales[warp][0], sum, logit);
  const bool whole = first + warp >= range.whole_first && first + warp < range.whole_end && page.counts != 0 && page.num_sinks == 0;
  if (!whole) mask_scores<kTiles>(job, page, std::int64_t{first + warp} * layout::kPageTokens, logit);
  reduce_page_max<kTiles>(logit, shared.page_max[warp]);
  if (thread_idx() < kStepPages) find_page(job, range, first + kStepPages + thread_idx(), shared.pages[1 - turn][thread_idx()]);
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
    factors.fresh[tile] = scale * largest * (1.0f / kLargestWeight);
    running.sum[tile] = fmaf(running.sum[tile], factors.older[tile], fresh[tile] * scale);
    running.reference[tile] = moved;
  }
  __syncthreads();  // weights are there
  return factors;
}

// Values of the warp's frame, eight pages.
template <Code kValue, int kGroups, int kTiles>
__device__ inline void weigh_values(const Job& job, const StepPage (&pages)[kStepPages], const std::uint8_t* weights,
                                    const StepFactors<kTiles>& factors, Running<kGroups, kTiles>& running) {
  const layout::PageShape& shape = job.tables().shape;
  const int g = lane_idx() / 4, t = lane_idx() % 4, frame = warp_idx(), blocks = shape.head_dim / 16;
  const std::int64_t offset =
      job.launch.at.values + std::int64_t{frame} * layout::value_lines_per_frame(kValue, shape.head_dim) * layout::kLineBytes;
  const std::uint8_t *first = pages[t].body + offset, *second = pages[t + 4].body + offset;
  WeightFragments fragments[kTiles];
#pragma unroll
  for (int tile = 0; tile < kTiles; ++tile) {
    const std::uint8_t* at =
        weights + (kTileRows * tile + g / 2) * kRowWeightBytes + frame * kFrameWeightBytes + (2 * t + g % 2) * layout::kFrameSlots;
    fragments[tile] = weight_fragments<kValue>(at, at + 8 * layout::kFrameSlots);
  }
#pragma unroll
  for (int u = 0; u < kGroups; ++u) {
    ValueWords<kValue> words[2];
    words[0].load(first, u, blocks);
    words[1].load(second, u, blocks);
    weigh_group<kValue, kTiles>(words, fragments, [&](int tile, int m, int half, int sum) {
      float& channel = running.channel[tile][u][m][half];
      channel = fmaf(channel, factors.older[tile], static_cast<float>(sum) * factors.fresh[tile]);
    });
  }
}

// Registers to shared memory: sums [rows][frames][d] and the softmax of each row. Begins and ends with all threads together.
template <KeyPath kPath, int kGroups, int kTiles>
__device__ inline void gather(const Job& job, Running<kGroups, kTiles>& running, FragmentStorage<kPath, kGroups, kTiles>& shared) {
  const int d = job.head_dim(), g = lane_idx() / 4, t = lane_idx() % 4, frame = warp_idx();
  __syncthreads();
#pragma unroll
  for (int tile = 0; tile < kTiles; ++tile) {
    const int row = kTileRows * tile + t;
    float sum = running.sum[tile];
#pragma unroll
    for (int mask = 4; mask < kWarpLanes; mask *= 2) sum += __shfl_xor_sync(kAllLanes, sum, mask);
    if (g == 0) shared.warp_sum[frame][row] = sum;
    if (g == 0 && frame == 0) shared.state[row].reference = running.reference[tile];
#pragma unroll
    for (int i = 0; i < 8 * kGroups; ++i) {
      const int u = i / 8, m = i / 2 % 4, half = i % 2;
      const int channel = kGroupChannels * u + kGroupChannels / 2 * (g / 4) + 4 * (g % 4) + m + 16 * half;
      if (channel < d) shared.sums[(row * layout::kFrames + frame) * d + channel] = running.channel[tile][u][m][half];
    }
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
__global__ void __launch_bounds__(kStepThreads, kTiles == 1 ? 2 : 1)
    attend_fragments_kernel(const __grid_constant__ AttendLaunch launch) {
  constexpr KeyPath kPath = kDevicePath<kKeys>;
  // Who am I.
  const Job job = find_job(launch, kTileRows * kTiles);
  if (job.rows <= 0) return;
  auto& shared = shared_memory<FragmentStorage<kPath, kGroups, kTiles>>();
  const PageRange range = visible_pages(job);
  // What is read once: exact rows, queries.
  fetch_page(job, range, range.first + warp_idx());
  attend_exact(job, shared.exact);
  Running<kGroups, kTiles> running{};
#pragma unroll
  for (int tile = 0; tile < kTiles; ++tile) running.reference[tile] = kNothing;
  if (range.first < range.end) prepare_step<kPath>(job, shared.exact.query, range, shared.step);
  // The loop.
#pragma unroll 1
  for (int first = range.first; first < range.end; first += kStepPages) {
    fetch_page(job, range, first + kStepPages + warp_idx());
    const auto factors = weigh_keys<kPath, kGroupChannels * kGroups>(job, range, first, shared.step, running);
    const int turn = (first - range.first) / kStepPages % 2;
    weigh_values<kValue>(job, shared.step.pages[turn], shared.step.weights, factors, running);
  }
  // Reduce.
  gather(job, running, shared);
  // Store.
  finish_rows(job, shared.exact, shared.state, shared.sums, layout::kFrames);
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

// Two tiles of rows when there are so many, and when their shared memory is on every device (head_dim up to 128).
template <KeyPath kPath, Code kValue>
void launch_for_shape(const AttendWork& work) {
  const int d = work.launched.tables.shape.head_dim;
  const bool many = work.rows > kTileRows;
  if (d <= kGroupChannels) return many ? launch_fragments<kPath, kValue, 1, 2>(work) : launch_fragments<kPath, kValue, 1, 1>(work);
  if (d <= 2 * kGroupChannels) {
    return many ? launch_fragments<kPath, kValue, 2, 2>(work) : launch_fragments<kPath, kValue, 2, 1>(work);
  }
  launch_fragments<kPath, kValue, 4, 1>(work);
}

}  // namespace qjl::cuda

// Attention of a batch of pieces: chooses the kernel and launches it.
//
//   piece -> (out, max, sum): out = sum exp(s - max) v over the piece's positions, not normalised          backend/args.hpp
//
// A block of threads takes one piece and up to kRows of its rows.
#include "attend_plain.cuh"
#include "device/launcher.cuh"
#include "launch.hpp"

namespace qjl::cuda {
namespace {

unsigned groups_of(int rows, int rows_per_block) { return static_cast<unsigned>((rows + rows_per_block - 1) / rows_per_block); }

void attend_any(const AttendLaunch& launched, std::int32_t pieces, int rows, cudaStream_t stream) {
  const layout::PageShape& shape = launched.tables.shape;
  launch("attend", attend_plain_kernel,
         {static_cast<unsigned>(pieces), groups_of(rows, kPlainRows), kPlainThreads, plain_storage_bytes(shape)}, stream, launched);
}

AttendLaunch launch_of(const CodecTables& tables) {
  AttendLaunch launched{};
  launched.tables = tables;
  launched.at = layout::body_layout(tables.shape);
  launched.key_levels = levels_of(tables.shape.key_code);
  launched.value_levels = levels_of(tables.shape.value_code);
  return launched;
}

}  // namespace

void attend(const AttendBatch& batch, cudaStream_t stream) {
  AttendLaunch launched = launch_of(*batch.tables);
  launched.requests = batch.requests;
  launched.pieces = batch.pieces;
  launched.request_of_piece = batch.request_of_piece;
  attend_any(launched, batch.num_pieces, batch.max_rows, stream);
}

void attend(const AttendArgs& args, const AttendPiece& piece, cudaStream_t stream) {
  AttendLaunch launched = launch_of(*args.tables);
  launched.args = args;
  launched.piece = piece;
  attend_any(launched, 1, piece.num_queries * piece.num_heads_in_group, stream);
}

}  // namespace qjl::cuda

// Attention of a batch of pieces: chooses the kernel and launches it.
//
//   piece -> (out, max, sum): out = sum exp(s - max) v over the piece's positions, not normalised          backend/args.hpp
//
// A block of threads takes one piece and up to kRows of its rows.
#include "attend_plain.cuh"
#include "attend_work.cuh"
#include "launch.hpp"
#include "launcher.cuh"

namespace qjl::cuda {
namespace {

void launch_plain(const AttendWork& work) {
  const unsigned groups = static_cast<unsigned>((work.rows + kPlainRows - 1) / kPlainRows);
  launch("attend", attend_plain_kernel,
         {static_cast<unsigned>(work.pieces), groups, kPlainThreads, plain_storage_bytes(work.launched.tables.shape)}, work.stream,
         work.launched);
}

// The combinations of the presets; any other goes the plain way.
void launch_attend(const AttendWork& work) {
  const Code key = work.launched.tables.shape.key_code, value = work.launched.tables.shape.value_code;
  const bool signs = traits(key).book == Book::signs;
  if (signs && value == Code::l4) return attend_signs_l4(work);
  if (key == Code::l8 && value == Code::l4) return attend_l8_l4(work);
  if (key == Code::l8 && value == Code::l8) return attend_l8_l8(work);
  if (key == Code::l16 && value == Code::l8) return attend_l16_l8(work);
  if (key == Code::l16 && value == Code::l16) return attend_l16_l16(work);
  launch_plain(work);
}

}  // namespace

void attend(const AttendBatch& batch) {
  AttendLaunch launched = launch_of(*batch.tables);
  launched.requests = batch.requests;
  launched.pieces = batch.pieces;
  launched.request_of_piece = batch.request_of_piece;
  launch_attend({launched, batch.num_pieces, batch.max_rows, static_cast<cudaStream_t>(batch.stream)});
}

void attend(const AttendArgs& args, const AttendPiece& piece, cudaStream_t stream) {
  AttendLaunch launched = launch_of(*args.tables);
  launched.args = args;
  launched.piece = piece;
  launch_attend({launched, 1, piece.num_queries * piece.num_heads_in_group, stream});
}

}  // namespace qjl::cuda

// The mathematics of the library in doubles, one number at a time: what the code is judged by.
//
//   oracle_random.hpp     Philox, signs, normals, frames
//   oracle_page.hpp       the bytes of a page
//   oracle_codec.hpp      closing scale, decoding
//   oracle_encoders.hpp   what the encoders choose
//   oracle_trellis.hpp    what the encoder of trellis codes chooses
//   oracle_paper.hpp      the paper's sketch, outlier channels, min-max values
//   oracle_attention.hpp  softmax attention
//
// These files share nothing with src/ or include/: they see the standard library only.
#pragma once

#include "oracle_attention.hpp"
#include "oracle_codec.hpp"
#include "oracle_encoders.hpp"
#include "oracle_page.hpp"
#include "oracle_paper.hpp"
#include "oracle_random.hpp"
#include "oracle_trellis.hpp"

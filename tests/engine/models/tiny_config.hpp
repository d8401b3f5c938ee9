// The config of a tiny model's file, and the error of one that is no model.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "model.hpp"
#include "model_config.hpp"
#include "qjl/error.hpp"
#include "tiny_model.hpp"

namespace qjl::engine::test {

inline ModelConfig config_of(const TinyModel& tiny) {
  const std::vector<std::byte> bytes = tiny.bytes();
  return read_model_config(*parse_model_file(bytes, "tiny"));
}

inline void expect_error(const TinyModel& tiny, ErrorKind kind, const std::vector<std::string>& words) {
  const std::vector<std::byte> bytes = tiny.bytes();
  try {
    Model::load(parse_model_file(bytes, "tiny"));
    ADD_FAILURE() << "loaded, wanted an error with \"" << words[0] << "\"";
  } catch (const Error& error) {
    EXPECT_EQ(static_cast<int>(error.kind()), static_cast<int>(kind)) << error.what();
    for (const std::string& word : words)
      EXPECT_NE(std::string(error.what()).find(word), std::string::npos) << error.what() << " lacks " << word;
  }
}

}  // namespace qjl::engine::test

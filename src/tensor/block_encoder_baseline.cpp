#include <cstdint>
#include <cstring>

#include "tensor/block_encoder.hpp"

namespace meshseek::block_encoders {
namespace {

constexpr int kLanes = 4;

#include "tensor/block_encoder.inc"

}  // namespace

const BlockEncoder kBaseline = {encode_blocks<7>, encode_blocks<3>};

}  // namespace meshseek::block_encoders

// SPDX-License-Identifier: BSD-3-Clause
#include "emulate.h"
#include "gpu/codec_block.cu"

EMULATE(dml__codec_encode_blocks)
EMULATE(dml__codec_encode_casts)
EMULATE(dml__codec_decode_blocks)
EMULATE(dml__codec_flush)

// SPDX-License-Identifier: BSD-3-Clause
#include "emulate.h"
#include "gpu/codec_tern.cu"

EMULATE(dml__tern_scales)
EMULATE(dml__tern_encode)
EMULATE(dml__tern_decode_all)

// SPDX-License-Identifier: BSD-3-Clause
#include "emulate.h"
#include "gpu/codec_power.cu"

EMULATE(dml__power_left)
EMULATE(dml__power_orthonormal)
EMULATE(dml__power_right)
EMULATE(dml__power_product)
EMULATE(dml__power_keep)

// SPDX-License-Identifier: BSD-3-Clause
#include "emulate.h"
#include "gpu/optim.cu"

EMULATE(dml__optim_reload)
EMULATE(dml__optim_grads)
EMULATE(dml__optim_moments)
EMULATE(dml__optim_finish)
EMULATE(dml__optim_update_sgd)
EMULATE(dml__optim_update_adam)
EMULATE(dml__optim_update_lamb)

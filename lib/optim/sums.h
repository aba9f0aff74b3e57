/* SPDX-License-Identifier: BSD-3-Clause */
/* What lib/sync needs of an optimizer beside its public functions. */
#ifndef DML__SUMS_H
#define DML__SUMS_H

#include "dml/optim.h"

/* The memory of the sums that dml_optim_norms() hands out, which is the caller's from
 * then on: whoever adds them up by a collective that fails may not free it. Only before
 * the optimizer is destroyed. For dml__free(). */
void *dml__optim_take_sums(dml_optim *optim);

#endif

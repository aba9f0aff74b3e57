/* SPDX-License-Identifier: BSD-3-Clause */
/* What lib/exchange must know of a rebalancer: see rebalance.c. */
#ifndef DML__SKEW_REBALANCE_H
#define DML__SKEW_REBALANCE_H

#include "dml/rebalance.h"

/* How many ranks it was made for. */
size_t dml__rebalance_ranks(const dml_rebalance *rebalance);

#endif

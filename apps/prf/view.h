/* SPDX-License-Identifier: BSD-3-Clause */
/* Where the bins of a node's rows are read; see view.c. */
#ifndef PRF_VIEW_H
#define PRF_VIEW_H

#include "grower.h"

/* Set the grower's view for a task. The stack holds what comes after it. */
void view_choose(struct grower *g, const struct task *task);

#endif

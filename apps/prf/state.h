/* SPDX-License-Identifier: BSD-3-Clause */
/* A forest in a snapshot; see state.c. */
#ifndef PRF_STATE_H
#define PRF_STATE_H

#include "forest.h"

/* Put the trees that are finished; user is a struct forest. Between trees on all ranks
 * and threads. Collective, agreed. */
dml_status state_save(void *user, dml_ckpt *writer);

/* Begin with the trees of forest->snapshot, if it is there, and make the list of those
 * that are to be grown. Collective, agreed. */
dml_status state_load(struct forest *forest);

#endif

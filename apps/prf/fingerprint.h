/* SPDX-License-Identifier: BSD-3-Clause */
/* Are these the data that a snapshot's trees were grown on? See fingerprint.c. */
#ifndef PRF_FINGERPRINT_H
#define PRF_FINGERPRINT_H

#include "dataset.h"

/* Of training rows and their columns. Collective. */
dml_status fingerprint_of(struct job *job, const struct dataset *set, uint64_t *print);

#endif

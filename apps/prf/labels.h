/* SPDX-License-Identifier: BSD-3-Clause */
/* The parts of a schema that come from labels and row weights; see labels.c. "use" is
 * as in schema_make(). */
#ifndef PRF_LABELS_H
#define PRF_LABELS_H

#include "schema.h"

/* Has every used row a label, and is there one? */
dml_status labels_check(struct job *job, const struct raw *raw, const uint8_t *use);

/* The scale of weights, and their sum in its units. */
dml_status labels_weigh(struct job *job, const struct raw *raw, const uint8_t *use,
                        double *total, struct schema *schema);

/* Classes, or the scale of targets. */
dml_status labels_make(struct job *job, const struct raw *raw, const uint8_t *use,
                       enum task_kind task, double total_weight, struct schema *schema);

#endif

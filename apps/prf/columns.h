/* SPDX-License-Identifier: BSD-3-Clause */
/* Bins of columns from the groups that made them to all; see columns.c. */
#ifndef PRF_COLUMNS_H
#define PRF_COLUMNS_H

#include "group.h"
#include "schema.h"

/* Every group's leader has made the bins of its part of the columns, group g of G the
 * columns F g / G .. F (g + 1) / G - 1; now all get them. Collective over leaders. */
dml_status columns_share(const struct group *group, struct schema *schema);

#endif

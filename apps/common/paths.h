/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Do two names on a command line mean one file? An output that is also an input, or
 * another output, must be refused before the work: writing it would destroy the other.
 */
#ifndef APPS_PATHS_H
#define APPS_PATHS_H

#include <stdbool.h>

/* Do both lead to one regular file, by whatever links; or, where neither is there yet,
 * would they? Devices and pipes are nobody's: two may write to them. NULL is no file.
 */
bool paths_same(const char *a, const char *b);

#endif

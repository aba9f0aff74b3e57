/* SPDX-License-Identifier: BSD-3-Clause */
/* What --version prints. */
#ifndef APPS_VERSION_H
#define APPS_VERSION_H

/* Two lines to standard output: the program's version; those of libdml and of the MPI
 * library that are linked, and whether this build has CUDA. Needs no MPI_Init(). */
void version_print(const char *app);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Files that are written beside the name that they will have: lib/data/partial_name.c,
 * which says how, is compiled into the applications as well.
 */
#ifndef APPS_BESIDE_H
#define APPS_BESIDE_H

#include <stddef.h>

/* What is added to a path at most, with the zero at the end. */
#define BESIDE_ROOM 32

/* A file that this process alone has, of a name that nobody can guess; leftovers of
 * killed processes for the same path are removed. A descriptor, or -1 with errno.
 * name: [room], at least strlen(path) + BESIDE_ROOM. */
int dml__partial_create(const char *path, char *name, size_t room);

/* Give it the permissions of a new file, before it is renamed. 0, or -1 with errno. */
int dml__partial_publish(int fd);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Names of files that are being written; see partial_name.c. Not of lib/ alone: libdml
 * does not export them, and the applications compile the same source
 * (apps/meson.build).
 */
#ifndef DML__PARTIAL_NAME_H
#define DML__PARTIAL_NAME_H

#include <stddef.h>

/* What is added to a path at most, with the zero at the end. */
#define DML__PARTIAL_ROOM 32

/* Create "PATH.partial-" and 16 random digits, which nobody else can read, and take
 * what killed processes of this user have left for the same path away. Returns a
 * descriptor, or -1 with errno. name: [room], room at least strlen(path) +
 * DML__PARTIAL_ROOM. */
int dml__partial_create(const char *path, char *name, size_t room);

/* Give the file the permissions that a new file has. 0, or -1 with errno. */
int dml__partial_publish(int fd);

#endif

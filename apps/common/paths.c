/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Names of one file are told by its device and number, not by their letters; of files
 * that are not there yet, by their folder's, and the last part of the name.
 */
#include "paths.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static bool same_thing(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* The part behind the last slash. */
static const char *name_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* The folder in which the path lies; false when there is none. */
static bool find_folder(const char *path, struct stat *info)
{
    size_t bytes = (size_t)(name_of(path) - path);
    char *folder = strndup(bytes > 0 ? path : ".", bytes > 0 ? bytes : 1);
    bool found = folder && stat(folder, info) == 0;
    free(folder);
    return found;
}

bool paths_same(const char *a, const char *b)
{
    struct stat x, y;
    if (!a || !b)
        return false;
    bool has_a = stat(a, &x) == 0, has_b = stat(b, &y) == 0;
    if (has_a && has_b)
        return S_ISREG(x.st_mode) && same_thing(&x, &y);
    if (has_a || has_b || strcmp(name_of(a), name_of(b)) != 0)
        return false;
    return find_folder(a, &x) && find_folder(b, &y) && same_thing(&x, &y);
}

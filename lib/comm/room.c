/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How much memory may still be taken: of the machine, and of every control group that
 * this process is in, each of which has a limit that counts. Both versions of control
 * groups are read, as described in the kernel's admin-guide (cgroup-v1/memory.rst,
 * cgroup-v2.rst).
 */
#include "comm/share.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { PATH_BYTES = 1024 };

/* Where a version keeps what. */
struct version {
    const char *mount; /* below the root of the file system */
    const char *limit, *used;
    const char *cache[2]; /* lines of memory.stat: what the kernel drops when it must */
};

static const struct version versions[] = {
    {"/sys/fs/cgroup",
     "memory.max",
     "memory.current",
     {"inactive_file ", "active_file "}},
    {"/sys/fs/cgroup/unified",
     "memory.max",
     "memory.current",
     {"inactive_file ", "active_file "}},
    {"/sys/fs/cgroup/memory",
     "memory.limit_in_bytes",
     "memory.usage_in_bytes",
     {"total_inactive_file ", "total_active_file "}},
};

enum { NEW = 2 /* versions, before the old one */, VERSIONS = 3 };

/* A number from a file of the kernel, the one after "name" (""; the first); negative
 * when there is none. */
static double number(const char *folder, const char *file_name, const char *name)
{
    char path[PATH_BYTES], line[256];
    double value = -1;
    int length = snprintf(path, sizeof path, "%s/%s", folder, file_name);
    FILE *file = length < PATH_BYTES ? fopen(path, "re") : NULL;
    if (file == NULL)
        return -1;
    while (value < 0 && fgets(line, sizeof line, file) != NULL)
        if (strncmp(line, name, strlen(name)) == 0 &&
            sscanf(line + strlen(name), "%lf", &value) != 1)
            value = -1; /* "max": no limit */
    fclose(file);
    return value;
}

/* What one group leaves. Its files in the page cache count as used there, but give way.
 */
static double room_of(const struct version *v, const char *folder)
{
    double limit = number(folder, v->limit, ""), used = number(folder, v->used, "");
    if (limit < 0 || used < 0)
        return INFINITY;
    for (int i = 0; i < 2; i++)
        used -= fmax(0, number(folder, "memory.stat", v->cache[i]));
    return fmax(0, limit - fmax(0, used));
}

/* The least that the group "path" and those around it leave. In a container the path
 * may be one of the outside; then the mount itself is the process's group. */
static double room_within(const struct version *v, const char *root, const char *path)
{
    char folder[PATH_BYTES];
    int base = snprintf(folder, sizeof folder, "%s%s", root, v->mount);
    int length = snprintf(folder, sizeof folder, "%s%s%s", root, v->mount, path);
    double room = INFINITY;
    if (length >= PATH_BYTES)
        return room;
    for (char *end = folder + length; end != NULL && end - folder >= base;
         end = strrchr(folder, '/')) {
        *end = '\0';
        room = fmin(room, room_of(v, folder));
    }
    return room;
}

/* Is "memory" in a list of controllers, "cpu,memory"? */
static bool has_memory(const char *list)
{
    const char *at = strstr(list, "memory");
    return at != NULL && (at == list || at[-1] == ',') &&
           (at[6] == '\0' || at[6] == ',');
}

double dml__room_bytes(const char *root)
{
    char path[PATH_BYTES], line[PATH_BYTES];
    snprintf(path, sizeof path, "%s/proc", root);
    double free_kb = number(path, "meminfo", "MemAvailable:");
    double room = free_kb < 0 ? INFINITY : 1024 * free_kb;
    snprintf(path, sizeof path, "%s/proc/self/cgroup", root);
    FILE *file = fopen(path, "re");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        char *list = strchr(line, ':'), *group = list;
        if (list != NULL)
            group = strchr(++list, ':');
        if (group == NULL)
            continue;
        *group++ = '\0';
        bool old = *list != '\0'; /* 0::PATH is the new version's */
        if (old && !has_memory(list))
            continue;
        for (int i = old ? NEW : 0; i < (old ? VERSIONS : NEW); i++)
            room = fmin(room, room_within(&versions[i], root, group));
    }
    if (file != NULL)
        fclose(file);
    return room;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A file is written beside the name that it will have, under one that nobody can guess
 * and put something else at. Its writer keeps it locked, so that a file without a lock
 * is one whose writer was killed: the next writer of the same path removes it.
 */
#include "data/partial_name.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    DIGITS = 16,
    YOUNG_S = 2 /* a file may have been made and not be locked yet */
};

static bool is_ours(const char *name, const char *base)
{
    static const char mark[] = ".partial-";
    size_t length = strlen(base);
    if (strncmp(name, base, length) != 0 ||
        strncmp(name + length, mark, sizeof mark - 1) != 0)
        return false;
    name += length + sizeof mark - 1;
    return strlen(name) == DIGITS && strspn(name, "0123456789abcdef") == DIGITS;
}

/* Nobody's any more: a file of this user's that no process has locked. */
static bool is_left(int folder, const char *name)
{
    struct stat info;
    if (fstatat(folder, name, &info, AT_SYMLINK_NOFOLLOW) != 0 ||
        !S_ISREG(info.st_mode) || info.st_uid != geteuid() ||
        time(NULL) - info.st_mtime <= YOUNG_S)
        return false;
    int fd = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return false;
    bool left = flock(fd, LOCK_EX | LOCK_NB) == 0;
    close(fd);
    return left;
}

static void remove_left(const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *base = slash != NULL ? slash + 1 : path;
    char *folder = slash == NULL   ? strdup(".")
                   : slash == path ? strdup("/")
                                   : strndup(path, (size_t)(slash - path));
    DIR *dir = folder != NULL ? opendir(folder) : NULL;
    for (struct dirent *e; dir != NULL && (e = readdir(dir)) != NULL;)
        if (is_ours(e->d_name, base) && is_left(dirfd(dir), e->d_name))
            (void)unlinkat(dirfd(dir), e->d_name, 0);
    if (dir != NULL)
        closedir(dir);
    free(folder);
}

int dml__partial_create(const char *path, char *name, size_t room)
{
    uint64_t number;
    remove_left(path);
    if (getrandom(&number, sizeof number, 0) != (ssize_t)sizeof number)
        return -1;
    snprintf(name, room, "%s.partial-%016llx", path, (unsigned long long)number);
    int fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd >= 0)
        (void)flock(fd, LOCK_EX | LOCK_NB); /* where there are no locks none is asked */
    return fd;
}

/* The mask is read where that changes nothing: other threads may be creating files. */
static mode_t file_mask(void)
{
    unsigned mask = 077;
    char line[256];
    FILE *file = fopen("/proc/self/status", "re");
    while (file != NULL && fgets(line, sizeof line, file) != NULL)
        if (sscanf(line, "Umask: %o", &mask) == 1)
            break;
    if (file != NULL)
        fclose(file);
    return (mode_t)mask;
}

int dml__partial_publish(int fd)
{
    return fchmod(fd, 0666 & ~file_mask());
}

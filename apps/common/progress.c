/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Progress on standard output.
 *
 * Open MPI gives rank 0 a pseudo-terminal even when mpirun's own output is a file, so
 * under a launcher the launcher's output is asked instead.
 */
#include "progress.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define REDRAW_S  0.1
#define BAR_CELLS 24

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static bool launcher_has_terminal(void)
{
    char link[64], target[64];
    snprintf(link, sizeof link, "/proc/%ld/fd/1", (long)getppid());
    ssize_t length = readlink(link, target, sizeof target - 1);
    if (length <= 0)
        return false;
    target[length] = '\0';
    return strncmp(target, "/dev/pts/", 9) == 0 || strncmp(target, "/dev/tty", 8) == 0;
}

void progress_init(struct progress *progress, bool shown)
{
    bool launched = getenv("OMPI_COMM_WORLD_RANK") || getenv("PMI_RANK");
    *progress = (struct progress){
        .shown = shown,
        .bar = shown && isatty(STDOUT_FILENO) && (!launched || launcher_has_terminal()),
    };
}

void progress_bar(struct progress *progress, uint64_t done, uint64_t total,
                  const char *text)
{
    if (!progress->bar || total == 0)
        return;
    double now = now_s();
    if (now - progress->last_s < REDRAW_S)
        return;
    progress->last_s = now;
    char cells[BAR_CELLS + 1];
    size_t filled = (size_t)((double)done / (double)total * BAR_CELLS);
    for (size_t i = 0; i < BAR_CELLS; i++)
        cells[i] = i < filled ? '=' : i == filled ? '>' : ' ';
    cells[BAR_CELLS] = '\0';
    printf("\r[%s] %3.0f %% %s\033[K", cells, 100.0 * (double)done / (double)total,
           text);
    fflush(stdout);
    progress->drawn = true;
}

void progress_line(struct progress *progress, const char *format, ...)
{
    if (!progress->shown)
        return;
    if (progress->drawn)
        printf("\r\033[K");
    progress->drawn = false;
    va_list args;
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    printf("\n");
    fflush(stdout);
}

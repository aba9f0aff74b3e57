/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What every program that writes files does first; see process.h.
 */
#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

void process_guard(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF)
            (void)open("/dev/null", O_RDONLY); /* gets this number; cannot be written */
    signal(SIGXFSZ, SIG_IGN);
}

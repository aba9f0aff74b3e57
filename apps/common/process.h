/* SPDX-License-Identifier: BSD-3-Clause */
/* What every program that writes files does first. */
#ifndef APPS_PROCESS_H
#define APPS_PROCESS_H

/* Before anything is opened: standard streams that are closed become /dev/null, or the
 * next file would get their number, and what is printed; and a file that may not grow
 * (ulimit -f) becomes an error of the write, not a signal that kills. */
void process_guard(void);

#endif

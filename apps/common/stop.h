/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Signals that ask a job to stop at its next good moment: SIGTERM, and SIGUSR1, which
 * batch systems send ahead of a time limit. A second one ends the process at once.
 */
#ifndef APPS_STOP_H
#define APPS_STOP_H

#include <stdbool.h>

/* Have them delivered to a thread of their own, and not to the caller's nor to any that
 * it starts later. To be called once, before others are started. */
void stop_divert(void);

/* Catch them from here on. A program does so first of all: while MPI starts they would
 * end a process that catches none, and the whole job with it. */
void stop_catch(void);

/* For a command that cannot stop early: they end the process, also one that came. */
void stop_release(void);

/* Did one come to this process? */
bool stop_wanted(void);

#endif

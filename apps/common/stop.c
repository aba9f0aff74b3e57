/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Signals that ask a job to stop; see stop.h.
 */
#include "stop.h"

#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <unistd.h>

static volatile sig_atomic_t wanted; /* the signal's number, or 0 */

static sigset_t both_signals(void)
{
    sigset_t both;
    sigemptyset(&both);
    sigaddset(&both, SIGTERM);
    sigaddset(&both, SIGUSR1);
    return both;
}

/* ---- who takes them ---------------------------------------------------------------
 */

static void *take_signals(void *unused)
{
    while (pause() != 0) /* it never returns 0 */
        continue;
    return unused;
}

/* A signal's frame is written below the stack pointer, and generated code may use that
 * register for something else: matrix products of oneDNN before 3.12 let it point into
 * the heap (its issue 4845), where a frame overwrites what lies there. So the threads
 * that compute take no signals: those to come inherit the mask. */
void stop_divert(void)
{
    const sigset_t both = both_signals();
    pthread_t thread;
    if (pthread_create(&thread, NULL, take_signals, NULL) != 0)
        return;
    pthread_detach(thread);
    pthread_sigmask(SIG_BLOCK, &both, NULL);
}

/* ---- what they do -----------------------------------------------------------------
 */

/* The second one does what it would have done to a process that catches none. */
static void on_signal(int number)
{
    wanted = number;
    signal(SIGTERM, SIG_DFL);
    signal(SIGUSR1, SIG_DFL);
}

void stop_catch(void)
{
    /* A handler that runs lets no second signal in before it has set the defaults. */
    struct sigaction action = {
        .sa_handler = on_signal, .sa_flags = SA_RESTART, .sa_mask = both_signals()};
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGUSR1, &action, NULL);
}

void stop_release(void)
{
    signal(SIGTERM, SIG_DFL);
    signal(SIGUSR1, SIG_DFL);
    if (wanted)
        raise(wanted);
}

bool stop_wanted(void)
{
    return wanted != 0;
}

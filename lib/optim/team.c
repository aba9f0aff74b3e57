/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Threads that share one piece of work at a time with their caller and sleep between
 * two pieces. Who does which part is fixed by the index, so nothing depends on timing.
 */
#include "optim/optimizer.h"

#include <pthread.h>

struct helper {
    struct dml__team *team;
    int index;
    pthread_t thread;
};

struct dml__team {
    pthread_mutex_t lock;
    pthread_cond_t begin, end;
    void (*work)(void *user, int index);
    void *user;
    uint64_t round; /* grows by one with every piece of work */
    int working;    /* helpers that have not finished this round */
    bool leaving;
    int nhelpers;
    struct helper *helpers; /* [nhelpers] */
};

static void *help(void *arg)
{
    const struct helper *self = arg;
    struct dml__team *team = self->team;
    uint64_t done = 0;
    pthread_mutex_lock(&team->lock);
    for (;;) {
        while (team->round == done && !team->leaving)
            pthread_cond_wait(&team->begin, &team->lock);
        if (team->leaving)
            break;
        done = team->round;
        pthread_mutex_unlock(&team->lock);
        team->work(team->user, self->index);
        pthread_mutex_lock(&team->lock);
        if (--team->working == 0)
            pthread_cond_signal(&team->end);
    }
    pthread_mutex_unlock(&team->lock);
    return NULL;
}

struct dml__team *dml__team_create(dml_ctx *ctx, int nthreads)
{
    struct dml__team *team = dml__alloc(ctx, sizeof *team);
    if (team == NULL)
        return NULL;
    pthread_mutex_init(&team->lock, NULL);
    pthread_cond_init(&team->begin, NULL);
    pthread_cond_init(&team->end, NULL);
    team->helpers = dml__alloc(ctx, dml__mul((size_t)nthreads, sizeof *team->helpers));
    if (team->helpers == NULL)
        goto fail;
    for (int i = 1; i < nthreads; i++) {
        struct helper *helper = &team->helpers[team->nhelpers];
        *helper = (struct helper){.team = team, .index = i};
        if (pthread_create(&helper->thread, NULL, help, helper) != 0)
            goto fail;
        team->nhelpers++;
    }
    return team;

fail:
    dml__team_destroy(team);
    return NULL;
}

void dml__team_destroy(struct dml__team *team)
{
    if (team == NULL)
        return;
    pthread_mutex_lock(&team->lock);
    team->leaving = true;
    pthread_cond_broadcast(&team->begin);
    pthread_mutex_unlock(&team->lock);
    for (int i = 0; i < team->nhelpers; i++)
        pthread_join(team->helpers[i].thread, NULL);
    dml__free(team->helpers);
    pthread_cond_destroy(&team->end);
    pthread_cond_destroy(&team->begin);
    pthread_mutex_destroy(&team->lock);
    dml__free(team);
}

void dml__team_run(struct dml__team *team, void (*work)(void *user, int index),
                   void *user)
{
    pthread_mutex_lock(&team->lock);
    team->work = work;
    team->user = user;
    team->working = team->nhelpers;
    team->round++;
    pthread_cond_broadcast(&team->begin);
    pthread_mutex_unlock(&team->lock);
    work(user, 0);
    pthread_mutex_lock(&team->lock);
    while (team->working > 0)
        pthread_cond_wait(&team->end, &team->lock);
    pthread_mutex_unlock(&team->lock);
}

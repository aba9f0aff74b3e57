/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Rebalancing in virtual time: a rank that gets slow gives work away soon, noise moves
 * little, nothing is lost, costs are weighed. Placement of tasks against brute force.
 */
#include "dml/rebalance.h"

#include "skew_help.h"

enum { RANKS = 8, UNITS = 1000 };

static dml_rebalance *rebalancer(const dml_rebalance_opts *opts)
{
    uint64_t units[RANKS];
    for (int i = 0; i < RANKS; i++)
        units[i] = UNITS;
    dml_rebalance *r = NULL;
    ok(dml_rebalance_create(ctx, RANKS, units, opts, &r));
    return r;
}

/* One step in virtual time: how long the slowest takes; moves are applied and checked.
 */
static double step(dml_rebalance *r, const double *speeds, double noise, uint64_t seed)
{
    double seconds[RANKS], longest = 0;
    uint64_t before[RANKS], total = 0;
    dml_move moves[RANKS];
    size_t nmoves = 0;
    dml_rebalance_info info;
    dml_rebalance_get_info(r, &info);
    memcpy(before, dml_rebalance_units(r), sizeof before);
    for (int i = 0; i < RANKS; i++) {
        double factor = exp(noise * dml_rng_normal(seed, (uint64_t)i, info.steps));
        seconds[i] = (double)before[i] / speeds[i] * factor;
        longest = fmax(longest, seconds[i]);
    }
    ok(dml_rebalance_step(r, seconds, moves, &nmoves));
    assert_true(nmoves < RANKS);
    for (size_t m = 0; m < nmoves; m++) {
        assert_true(moves[m].units > 0 && moves[m].from != moves[m].to);
        assert_true(before[moves[m].from] >= moves[m].units);
        before[moves[m].from] -= moves[m].units;
        before[moves[m].to] += moves[m].units;
    }
    assert_memory_equal(before, dml_rebalance_units(r), sizeof before);
    for (int i = 0; i < RANKS; i++)
        total += before[i];
    assert_int_equal(total, (uint64_t)RANKS * UNITS);
    return longest;
}

static void a_slow_rank_gets_less(void **state)
{
    (void)state;
    double speeds[RANKS], sum = 0;
    dml_rebalance *r = rebalancer(NULL);
    dml_rebalance_info info;
    for (int i = 0; i < RANKS; i++)
        speeds[i] = 100;
    for (int s = 0; s < 20; s++)
        step(r, speeds, 0.02, 5);
    dml_rebalance_get_info(r, &info);
    assert_int_equal(info.moves, 0);
    speeds[3] = 50;
    for (int i = 0; i < RANKS; i++)
        sum += speeds[i];
    double ideal = RANKS * UNITS / sum, got = 0;
    for (int s = 0; s < 5; s++)
        step(r, speeds, 0.02, 5);
    assert_true(dml_rebalance_units(r)[3] < 800);
    while (info.moves < 5 && info.steps < 60) {
        got = step(r, speeds, 0.02, 5);
        dml_rebalance_get_info(r, &info);
    }
    assert_true(info.moves <= 5);
    assert_true(ideal / got > 0.9);
    assert_true(info.ideal_ratio > 0.9);
    assert_true(fabs(dml_rebalance_speeds(r)[3] - 50) < 5);
    /* And back again. */
    speeds[3] = 100;
    for (int s = 0; s < 20; s++)
        got = step(r, speeds, 0.02, 5);
    assert_true(UNITS / 100.0 / got > 0.9);
    dml_rebalance_destroy(r);
}

/* Equal ranks, noisy: less than one step in twenty moves anything, and never much. */
static void noise_does_not_move_work(void **state)
{
    (void)state;
    uint64_t seed = seed_of("noise_does_not_move_work", 8);
    static const double noises[] = {0.02, 0.1, 0.3};
    double speeds[RANKS];
    for (int i = 0; i < RANKS; i++)
        speeds[i] = 100;
    for (int n = 0; n < 3; n++) {
        dml_rebalance *r = rebalancer(NULL);
        dml_rebalance_info info;
        for (int s = 0; s < 400; s++)
            step(r, speeds, noises[n], seed);
        dml_rebalance_get_info(r, &info);
        printf("noise %g: %llu moves in 400 steps\n", noises[n],
               (unsigned long long)info.moves);
        assert_true(info.moves <= (n == 0 ? 0 : 20));
        dml_rebalance_destroy(r);
    }
}

static void one_odd_step_counts_for_nothing(void **state)
{
    (void)state;
    double speeds[RANKS];
    dml_rebalance *r = rebalancer(NULL);
    dml_rebalance_info info;
    for (int i = 0; i < RANKS; i++)
        speeds[i] = 100;
    for (int s = 0; s < 40; s++) {
        speeds[2] = s % 10 == 9 ? 5 : 100;
        step(r, speeds, 0, 1);
    }
    dml_rebalance_get_info(r, &info);
    assert_int_equal(info.moves, 0);
    dml_rebalance_destroy(r);
}

static void costs_are_weighed(void **state)
{
    (void)state;
    double speeds[RANKS];
    dml_rebalance_opts opts;
    dml_rebalance_opts_init(&opts);
    for (int i = 0; i < RANKS; i++)
        speeds[i] = i == 0 ? 50 : 100;
    for (int dear = 0; dear < 2; dear++) {
        opts.unit_cost_s = dear ? 10 : 0.01;
        dml_rebalance *r = rebalancer(&opts);
        dml_rebalance_info info;
        for (int s = 0; s < 30; s++)
            step(r, speeds, 0, 1);
        dml_rebalance_get_info(r, &info);
        assert_true(dear ? info.moves == 0 : info.moves >= 1);
        dml_rebalance_destroy(r);
    }
}

static void bad_times_are_refused(void **state)
{
    (void)state;
    static const double bad[] = {NAN, -1, INFINITY};
    dml_rebalance *r = rebalancer(NULL);
    dml_move moves[RANKS];
    size_t nmoves = 0;
    for (int b = 0; b < 3; b++) {
        double seconds[RANKS] = {0};
        seconds[5] = bad[b];
        assert_int_equal(dml_rebalance_step(r, seconds, moves, &nmoves), DML_EINVAL);
        says("seconds[5]");
    }
    const double none[RANKS] = {0};
    ok(dml_rebalance_step(r, none, moves, &nmoves));
    assert_int_equal(nmoves, 0);
    dml_rebalance_destroy(r);
    uint64_t units[] = {UINT64_MAX, 1};
    assert_int_equal(dml_rebalance_create(ctx, 2, units, NULL, &r), DML_EINVAL);
    assert_int_equal(dml_rebalance_create(ctx, 0, units, NULL, &r), DML_EINVAL);
}

/* ---- tasks -------------------------------------------------------------------------
 */

struct problem {
    size_t ntasks, nnodes;
    dml_task tasks[40];
    dml_node nodes[4];
    double transfer_s[40 * 4];
};

static struct problem random_problem(size_t ntasks, size_t nnodes, uint64_t seed)
{
    struct problem p = {.ntasks = ntasks, .nnodes = nnodes};
    for (size_t t = 0; t < ntasks; t++) {
        double u = dml_rng_uniform(seed, 1, t);
        p.tasks[t] = (dml_task){.load = 1 / (0.05 + u),
                                .ready_s = 4 * dml_rng_uniform(seed, 2, t)};
        for (size_t n = 0; n < nnodes; n++)
            p.transfer_s[t * nnodes + n] = 3 * dml_rng_uniform(seed, 3 + n, t);
    }
    for (size_t n = 0; n < nnodes; n++)
        p.nodes[n] = (dml_node){.speed = 0.5 + dml_rng_uniform(seed, 9, n),
                                .available_s = 2 * dml_rng_uniform(seed, 10, n)};
    return p;
}

/* When the last node ends, tasks in the order of their arrival. */
static double makespan(const struct problem *p, const uint32_t *node_of)
{
    double last = 0;
    for (size_t n = 0; n < p->nnodes; n++) {
        double end = p->nodes[n].available_s;
        bool done[40] = {false};
        for (;;) {
            size_t first = SIZE_MAX;
            double at = INFINITY;
            for (size_t t = 0; t < p->ntasks; t++) {
                double here = p->tasks[t].ready_s + p->transfer_s[t * p->nnodes + n];
                if (!done[t] && node_of[t] == n && here < at) {
                    first = t;
                    at = here;
                }
            }
            if (first == SIZE_MAX)
                break;
            done[first] = true;
            end = fmax(end, at) + p->tasks[first].load / p->nodes[n].speed;
        }
        last = fmax(last, end);
    }
    return last;
}

static double best_makespan(const struct problem *p)
{
    uint32_t node_of[40] = {0};
    double best = INFINITY;
    for (;;) {
        best = fmin(best, makespan(p, node_of));
        size_t t = 0;
        while (t < p->ntasks && ++node_of[t] == p->nnodes)
            node_of[t++] = 0;
        if (t == p->ntasks)
            return best;
    }
}

/* Places, and checks that slots are possible and end when they say. */
static double scheduled(const struct problem *p)
{
    dml_slot slots[40];
    uint32_t node_of[40];
    double got = 0;
    ok(dml_schedule_tasks(ctx, p->tasks, p->ntasks, p->nodes, p->nnodes, p->transfer_s,
                          slots, &got));
    for (size_t t = 0; t < p->ntasks; t++) {
        node_of[t] = slots[t].node;
        assert_true(slots[t].node < p->nnodes);
        const dml_node *node = &p->nodes[slots[t].node];
        double arrival =
            p->tasks[t].ready_s + p->transfer_s[t * p->nnodes + slots[t].node];
        assert_true(slots[t].start_s >= fmax(arrival, node->available_s));
        assert_true(fabs(slots[t].finish_s - slots[t].start_s -
                         p->tasks[t].load / node->speed) < 1e-9);
        for (size_t u = 0; u < t; u++)
            assert_true(slots[u].node != slots[t].node ||
                        slots[u].finish_s <= slots[t].start_s ||
                        slots[t].finish_s <= slots[u].start_s);
    }
    assert_true(fabs(makespan(p, node_of) - got) < 1e-9);
    return got;
}

static void schedules_are_near_the_best(void **state)
{
    (void)state;
    uint64_t seed = seed_of("schedules_are_near_the_best", 17);
    double worst = 1, mean = 0;
    enum { TRIALS = 60 };
    for (uint64_t trial = 0; trial < TRIALS; trial++) {
        struct problem p = random_problem(1 + trial % 9, 1 + trial % 3, seed + trial);
        double ratio = scheduled(&p) / best_makespan(&p);
        assert_true(ratio > 1 - 1e-12);
        worst = fmax(worst, ratio);
        mean += ratio / TRIALS;
    }
    printf("makespan over the best: mean %.4f, worst %.4f\n", mean, worst);
    assert_true(worst < 1.1 && mean < 1.01);
}

static void schedules_beat_dealing_out(void **state)
{
    (void)state;
    uint64_t seed = seed_of("schedules_beat_dealing_out", 23);
    for (uint64_t trial = 0; trial < 20; trial++) {
        struct problem p = random_problem(40, 4, seed + trial);
        uint32_t turn[40], hash[40];
        for (uint32_t t = 0; t < 40; t++) {
            turn[t] = t % 4;
            hash[t] = (uint32_t)(dml_hash_u64(t, 0) % 4);
        }
        double got = scheduled(&p);
        assert_true(got <= makespan(&p, turn) && got <= makespan(&p, hash));
    }
}

/* A node gets slow in mid-run: the tasks not begun are placed anew, each runs once. */
static void replanning_loses_no_task(void **state)
{
    (void)state;
    struct problem p = random_problem(30, 3, 77), rest = p;
    dml_slot slots[30];
    double stop = 0, before = 0;
    ok(dml_schedule_tasks(ctx, p.tasks, 30, p.nodes, 3, p.transfer_s, slots, &before));
    stop = before / 2;
    rest.ntasks = 0;
    size_t begun = 0;
    for (size_t n = 0; n < 3; n++)
        rest.nodes[n].available_s = stop;
    for (size_t t = 0; t < 30; t++) {
        dml_node *node = &rest.nodes[slots[t].node];
        if (slots[t].start_s < stop) {
            begun++;
            node->available_s = fmax(node->available_s, slots[t].finish_s);
            continue;
        }
        rest.tasks[rest.ntasks] = p.tasks[t];
        memcpy(rest.transfer_s + 3 * rest.ntasks++, p.transfer_s + 3 * t,
               3 * sizeof *p.transfer_s);
    }
    rest.nodes[1].speed /= 4;
    assert_int_equal(begun + rest.ntasks, 30);
    assert_true(rest.ntasks > 5);
    assert_true(scheduled(&rest) >= stop);
}

static void odd_tasks(void **state)
{
    (void)state;
    static const dml_node node = {.speed = 1, .available_s = 3};
    static const dml_node stuck = {.speed = 0};
    static const dml_task bad = {.load = NAN}, good = {.load = 1};
    static const double late[] = {-1};
    dml_slot slot;
    double end = 0;
    ok(dml_schedule_tasks(ctx, NULL, 0, &node, 1, NULL, NULL, &end));
    assert_true(end == 3);
    ok(dml_schedule_tasks(ctx, &good, 1, &node, 1, NULL, &slot, NULL));
    assert_true(slot.start_s == 3 && slot.finish_s == 4 && slot.node == 0);
    assert_int_equal(dml_schedule_tasks(ctx, &good, 1, &stuck, 1, NULL, &slot, NULL),
                     DML_EINVAL);
    assert_int_equal(dml_schedule_tasks(ctx, &bad, 1, &node, 1, NULL, &slot, NULL),
                     DML_EINVAL);
    assert_int_equal(dml_schedule_tasks(ctx, &good, 1, &node, 1, late, &slot, NULL),
                     DML_EINVAL);
    assert_int_equal(dml_schedule_tasks(ctx, &good, 1, &node, 0, NULL, &slot, NULL),
                     DML_EINVAL);
    assert_int_equal(dml_schedule_tasks(ctx, &good, 1, &node, 1, NULL, NULL, &end),
                     DML_EINVAL);
    says("slots");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_slow_rank_gets_less),
        cmocka_unit_test(noise_does_not_move_work),
        cmocka_unit_test(one_odd_step_counts_for_nothing),
        cmocka_unit_test(costs_are_weighed),
        cmocka_unit_test(bad_times_are_refused),
        cmocka_unit_test(schedules_are_near_the_best),
        cmocka_unit_test(schedules_beat_dealing_out),
        cmocka_unit_test(replanning_loses_no_task),
        cmocka_unit_test(odd_tasks),
    };
    return cmocka_run_group_tests(tests, open_ctx, close_ctx);
}

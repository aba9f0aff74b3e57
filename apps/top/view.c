/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Jobs as text. Lines are made whole, cleaned of what a terminal would obey, since
 * names come from files, cut to the width, and then coloured.
 */
#include "view.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define LINE      512
#define BAR       20
#define WAIT_BAR  8
#define FEWEST    4   /* rows of ranks that a job gets however low the terminal is */
#define STUCK_S   1.0 /* a wait that is so long is shown as one */
#define HEAD_ROWS 5   /* of a job: up to three lines, the columns, an empty one */

enum style { PLAIN, BOLD, BAD, DIM };

static void put_line(const struct view *view, enum style style, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void put_line(const struct view *view, enum style style, const char *format, ...)
{
    static const char *const begin[] = {"", "\033[1m", "\033[1;31m", "\033[2m"};
    char line[LINE];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    for (char *at = line; *at; at++)
        if ((unsigned char)*at < ' ' || (unsigned char)*at >= 0x7f)
            *at = '?';
    if (view->width > 0 && view->width < sizeof line)
        line[view->width] = '\0';
    bool color = view->color && style != PLAIN;
    fprintf(view->out, "%s%s%s\n", color ? begin[style] : "", line,
            color ? "\033[0m" : "");
}

/* ---- numbers ----------------------------------------------------------------------
 */

static const char *put_seconds(char text[32], double s)
{
    if (!isfinite(s))
        snprintf(text, 32, "-");
    else if (s < 1e-3)
        snprintf(text, 32, "%.0f us", 1e6 * fmax(s, 0));
    else if (s < 1)
        snprintf(text, 32, "%.1f ms", 1e3 * s);
    else if (s < 100)
        snprintf(text, 32, "%.1f s", s);
    else if (s < 6000)
        snprintf(text, 32, "%.0f min", s / 60);
    else if (s < 360000)
        snprintf(text, 32, "%.1f h", s / 3600);
    else
        snprintf(text, 32, "%.3g days", s / 86400);
    return text;
}

static const char *put_bytes(char text[32], double bytes, const char *per)
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB"};
    size_t i = 0;
    if (!isfinite(bytes)) {
        snprintf(text, 32, "-");
        return text;
    }
    while (fabs(bytes) >= 999.5 && i + 1 < sizeof units / sizeof *units) {
        bytes /= 1000;
        i++;
    }
    snprintf(text, 32, "%.3g %s%s", bytes, units[i], per);
    return text;
}

static const char *put_number(char text[32], const char *format, double value)
{
    snprintf(text, 32, "-");
    if (isfinite(value))
        snprintf(text, 32, format, value);
    return text;
}

/* "[====>    ]" of so many cells, or of hashes for shares. */
static const char *put_bar(char *text, int cells, double part, bool arrow)
{
    int filled = part > 0 ? (int)(fmin(part, 1) * cells + (arrow ? 0 : 0.5)) : 0;
    text[0] = '[';
    for (int i = 0; i < cells; i++)
        text[1 + i] = i < filled             ? (arrow ? '=' : '#')
                      : arrow && i == filled ? '>'
                      : arrow                ? ' '
                                             : '.';
    text[1 + cells] = ']';
    text[2 + cells] = '\0';
    return text;
}

/* ---- a job ------------------------------------------------------------------------
 */

static void put_job(const struct view *view, const struct top_job *job, double now_s)
{
    const struct metrics_job *f = &job->figures;
    char steps[32], planned[32], bar[BAR + 8], left[32], text[6][32];
    const char *state = job->stale ? "NOT REWRITTEN" : f->state[0] ? f->state : "?";
    enum style style = job->stale || strcmp(f->state, "failed") == 0 ? BAD : BOLD;
    double done = job->nranks > 0 ? job->ranks[0].figures.steps : NAN;
    put_number(steps, "%.0f", done);
    put_number(planned, " of %.0f", f->planned);
    bool running = strcmp(f->state, "running") == 0;
    put_line(view, style, "%s %s: %s, step %s%s  %s %s%s%s", f->app, f->run, state,
             steps, isfinite(f->planned) ? planned : "",
             isfinite(f->progress) ? put_bar(bar, BAR, f->progress, true) : "",
             put_number(text[0], "%.0f %%", 100 * f->progress),
             running && isfinite(f->remaining_s) ? ", left " : "",
             running && isfinite(f->remaining_s) ? put_seconds(left, f->remaining_s)
                                                 : "");
    put_line(view, job->stale ? BAD : PLAIN,
             "  epoch %s  loss %s  rate %s  test %s  snapshot %s%s  written %s ago%s",
             put_number(text[0], "%.2f", f->epoch),
             put_number(text[1], "%.5g", f->loss), put_number(text[2], "%.3g", f->rate),
             put_number(text[3], "%.4f", f->test_value),
             put_seconds(text[4], f->snapshot_age_s),
             isfinite(f->snapshot_age_s) ? " ago" : "",
             put_seconds(text[5], fmax(now_s - job->stamp_s, 0)),
             job->stale ? ": the job hangs, or has ended without a word" : "");
    if (strcmp(f->state, "failed") == 0)
        put_line(view, BAD,
                 "  why, and which rank: the job's standard error, or its --log-json");
}

/* ---- its ranks --------------------------------------------------------------------
 */

/* What a rank does, in words; true: look here. */
static bool put_doing(char *text, size_t room, const struct top_rank *rank)
{
    const struct metrics_rank *f = &rank->figures;
    char longest[32], since[32], who[32] = "";
    size_t used = 0;
    bool bad = f->stopped > 0 || rank->stale || rank->longest_s >= STUCK_S;
    text[0] = '\0';
    if (rank->waits_for >= 0)
        snprintf(who, sizeof who, " for rank %d", rank->waits_for);
    if (rank->stale)
        used = (size_t)snprintf(text, room, "its file is not rewritten");
    else if (f->stopped > 0)
        used = (size_t)snprintf(text, room, "STOPPED in operation %.0f", f->number);
    else if (f->waits_s > 0 && f->peer >= 0)
        used = (size_t)snprintf(text, room, "waits %s for a message of rank %.0f",
                                put_seconds(since, f->waits_s), f->peer);
    else if (f->waits_s > 0)
        used = (size_t)snprintf(
            text, room, "waits %s in %s %.0f%s", put_seconds(since, f->waits_s),
            f->operation[0] ? f->operation : "operation", f->waits_in, who);
    else if (rank->blamed && rank->longest_s >= STUCK_S)
        used =
            (size_t)snprintf(text, room, "has not come: its last was %s %.0f",
                             f->operation[0] ? f->operation : "operation", f->number);
    if (rank->nwaiting > 0 && rank->longest_s >= STUCK_S && used < room)
        snprintf(text + used, room - used, "; %d rank%s wait%s for it, up to %s",
                 rank->nwaiting, rank->nwaiting > 1 ? "s" : "",
                 rank->nwaiting > 1 ? "" : "s", put_seconds(longest, rank->longest_s));
    return bad;
}

static void put_rank(const struct view *view, const struct top_rank *rank)
{
    const struct metrics_rank *f = &rank->figures;
    char doing[200], bar[WAIT_BAR + 8], text[6][32];
    bool bad = put_doing(doing, sizeof doing, rank);
    put_line(view,
             bad                                ? BAD
             : rank->figures.waits_s >= STUCK_S ? BOLD
                                                : PLAIN,
             "%6d  %-12.12s %9s %9s  %s %5s %11s %11s %9s  %s", f->rank, f->host,
             put_number(text[0], "%.0f", f->steps), put_seconds(text[1], f->step_s),
             put_bar(bar, WAIT_BAR, f->wait_ratio, false),
             put_number(text[2], "%.0f %%", 100 * f->wait_ratio),
             put_bytes(text[3], rank->sent_rate, "/s"),
             put_bytes(text[4], rank->received_rate, "/s"),
             put_bytes(text[5], f->resident, ""), doing);
}

/* Those first that others wait for, or that cannot answer; then by number. */
static int weight(const struct top_rank *rank)
{
    return rank->figures.stopped > 0 || rank->stale ? 0
           : rank->longest_s >= STUCK_S             ? 1
           : rank->figures.waits_s >= STUCK_S       ? 2
                                                    : 3;
}

static int compare(const void *a, const void *b)
{
    const struct top_rank *x = *(const struct top_rank *const *)a;
    const struct top_rank *y = *(const struct top_rank *const *)b;
    int order = weight(x) - weight(y);
    return order != 0 ? order : x->figures.rank - y->figures.rank;
}

static void put_rest(const struct view *view, const struct top_rank *const *order,
                     size_t first, size_t n)
{
    double least = INFINITY, most = -INFINITY;
    for (size_t i = first; i < n; i++) {
        least = fmin(least, order[i]->figures.wait_ratio);
        most = fmax(most, order[i]->figures.wait_ratio);
    }
    if (isfinite(least))
        put_line(view, DIM, "        and %zu ranks more, which wait %.0f to %.0f %%",
                 n - first, 100 * least, 100 * most);
    else /* before the second rewrite of the file */
        put_line(view, DIM, "        and %zu ranks more", n - first);
}

static void put_ranks(const struct view *view, const struct top_job *job, size_t rows)
{
    const struct top_rank **order = malloc((job->nranks + 1) * sizeof *order);
    size_t n = job->nranks, shown = n;
    put_line(view, DIM, "%6s  %-12s %9s %9s  %-*s %5s %11s %11s %9s  %s", "rank",
             "host", "steps", "a step", WAIT_BAR + 2, "waits", "", "sent", "received",
             "memory", "does");
    if (!order)
        return;
    for (size_t i = 0; i < n; i++)
        order[i] = &job->ranks[i];
    qsort(order, n, sizeof *order, compare);
    if (rows > 0 && n > rows)
        shown = rows - 1;
    for (size_t i = 0; i < shown; i++)
        put_rank(view, order[i]);
    if (shown < n)
        put_rest(view, order, shown, n);
    free(order);
}

void view_show(const struct view *view, const struct top_jobs *jobs,
               const char *const *errors, size_t nerrors, double now_s)
{
    size_t rows = 0, taken = nerrors + HEAD_ROWS * jobs->njobs;
    if (view->height > 0 && jobs->njobs > 0)
        rows = view->height > taken ? (view->height - taken) / jobs->njobs : 0;
    if (view->height > 0 && rows < FEWEST)
        rows = FEWEST;
    for (size_t i = 0; i < nerrors; i++)
        put_line(view, BAD, "%s", errors[i]);
    for (size_t i = 0; i < jobs->njobs; i++) {
        put_job(view, &jobs->jobs[i], now_s);
        put_ranks(view, &jobs->jobs[i], rows);
        if (i + 1 < jobs->njobs)
            put_line(view, PLAIN, "%s", "");
    }
}

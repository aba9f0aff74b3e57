/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * dml-top: files of --metrics in a terminal, read anew every second or two. It needs
 * neither MPI nor the job's machine, only its files.
 */
#include "dml/version.h"

#include "view.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

struct top {
    char **paths; /* [npaths] */
    size_t npaths;
    double interval_s;
    bool once, color, terminal;
    char **errors; /* [npaths] lines, of files that cannot be read */
    size_t nerrors;
};

#define GO_ON        (-1)
#define EXIT_REFUSED 64 /* as of the other applications */

static volatile sig_atomic_t ended;

static void on_end(int number)
{
    (void)number;
    ended = 1;
}

/* A new size ends the pause between two screens, and that is all. */
static void on_resize(int number)
{
    (void)number;
}

static void catch_signals(void)
{
    struct sigaction end = {.sa_handler = on_end}, resize = {.sa_handler = on_resize};
    sigemptyset(&end.sa_mask);
    sigemptyset(&resize.sa_mask);
    sigaction(SIGINT, &end, NULL);
    sigaction(SIGTERM, &end, NULL);
    sigaction(SIGHUP, &end, NULL);
    sigaction(SIGWINCH, &resize, NULL);
}

static double wall_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* ---- one screen -------------------------------------------------------------------
 */

static void forget_errors(struct top *top)
{
    for (size_t i = 0; i < top->nerrors; i++)
        free(top->errors[i]);
    top->nerrors = 0;
}

static void read_all(struct top *top, struct top_jobs *jobs)
{
    char error[PROM_ERROR];
    forget_errors(top);
    for (size_t i = 0; i < top->npaths; i++) {
        if (jobs_read(jobs, top->paths[i], error))
            continue;
        if (!top->once && access(top->paths[i], F_OK) != 0 && errno == ENOENT)
            snprintf(error, sizeof error,
                     "not there (yet): a job writes it when it begins");
        size_t room = strlen(top->paths[i]) + sizeof error + 4;
        char *line = malloc(room);
        if (!line)
            continue;
        snprintf(line, room, "%s: %s", top->paths[i], error);
        top->errors[top->nerrors++] = line;
    }
}

/* The screen as text, so that a terminal gets it at once; to be freed. */
static char *draw(const struct top *top, const struct top_jobs *jobs, double now_s)
{
    struct winsize size;
    char *text = NULL;
    size_t bytes = 0;
    struct view view = {.out = open_memstream(&text, &bytes), .color = top->color};
    if (!view.out)
        return NULL;
    if (top->terminal && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0) {
        view.width = size.ws_col;
        view.height = top->once ? 0 : size.ws_row;
    }
    /* On a screen errors are part of it; else they go to standard error. */
    view_show(&view, jobs, (const char *const *)top->errors,
              top->once ? 0 : top->nerrors, now_s);
    if (fclose(view.out) == 0)
        return text;
    free(text);
    return NULL;
}

/* Over the screen before, without a flicker: each line clears what is left of it. */
static void put_screen(const char *text)
{
    fputs("\033[H", stdout);
    for (const char *at = text, *end; (end = strchr(at, '\n')); at = end + 1)
        printf("%.*s\033[K%s", (int)(end - at), at, end[1] ? "\n" : "");
    fputs("\033[J", stdout);
}

/* False: standard output is gone. */
static bool show(struct top *top, struct top_jobs *before)
{
    struct top_jobs jobs = {0};
    double now_s = wall_s();
    read_all(top, &jobs);
    jobs_judge(&jobs, before->njobs > 0 ? before : NULL, now_s);
    char *text = draw(top, &jobs, now_s);
    jobs_free(before);
    *before = jobs;
    if (text && top->terminal && !top->once)
        put_screen(text);
    else if (text)
        fputs(text, stdout);
    free(text);
    return fflush(stdout) == 0 && text;
}

/* ---- the loop ---------------------------------------------------------------------
 */

static void pause_s(double seconds)
{
    struct timespec pause = {.tv_sec = (time_t)seconds};
    pause.tv_nsec = (long)(1e9 * (seconds - (double)pause.tv_sec));
    nanosleep(&pause, NULL);
}

static int run(struct top *top)
{
    struct top_jobs jobs = {0};
    bool good = true, screen = top->terminal && !top->once;
    if (!top->once)
        catch_signals();
    if (screen)
        fputs("\033[?25l\033[H\033[2J", stdout); /* no cursor, an empty screen */
    do {
        good = show(top, &jobs);
        if (good && !top->once && !ended)
            pause_s(top->interval_s);
        if (good && !top->once && !screen && !ended)
            putchar('\n');
    } while (good && !top->once && !ended);
    if (screen) {
        fputs("\033[?25h\n", stdout);
        fflush(stdout);
    }
    if (!good)
        fprintf(stderr, "dml-top: standard output cannot be written: %s\n",
                strerror(errno));
    for (size_t i = 0; top->once && i < top->nerrors; i++)
        fprintf(stderr, "dml-top: %s\n", top->errors[i]);
    good = good && !(top->once && top->nerrors > 0);
    forget_errors(top);
    jobs_free(&jobs);
    return good ? 0 : 1;
}

static const char help[] =
    "usage: dml-top [options] FILE...\n"
    "\n"
    "Show jobs that run with --metrics FILE: progress, how long each rank waits, and\n"
    "for whom. Several files are several jobs, or the nodes of one (run.prom\n"
    "run-*.prom). Ctrl-C ends it.\n"
    "\n"
    "  --interval S   seconds between two readings [2]\n"
    "  --once         show the files as they are now, and end\n"
    "  --no-color     as with NO_COLOR in the environment, or without a terminal\n"
    "  --help         this text\n"
    "  --version      of the program, which needs neither libdml nor MPI\n"
    "\n"
    "examples:\n"
    "  mpirun -n 4 dml-cnn train --metrics run.prom & dml-top run.prom\n"
    "  dml-top --once results/*.prom\n"
    "\n"
    "exit status: 0; 1 with --once when a file cannot be read, with a line on\n"
    "standard error for each; 64 where options are refused.\n";

static bool read_interval(const char *text, double *interval_s)
{
    char *end = NULL;
    *interval_s = strtod(text, &end);
    return end != text && *end == '\0' && *interval_s >= 0.05 && *interval_s <= 86400;
}

static int printed(void)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return 0;
    fprintf(stderr, "dml-top: standard output cannot be written: %s\n",
            strerror(errno));
    return 1;
}

/* The exit status, or GO_ON. */
static int parse(struct top *top, int argc, char **argv)
{
    static const struct option table[] = {
        {"interval", required_argument, NULL, 'i'}, {"once", no_argument, NULL, 'o'},
        {"no-color", no_argument, NULL, 'n'},       {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'v'},        {0}};
    const char *wish = getenv("NO_COLOR"), *term = getenv("TERM");
    *top = (struct top){.interval_s = 2, .terminal = isatty(STDOUT_FILENO)};
    top->color = top->terminal && !(wish && *wish) && term && strcmp(term, "dumb") != 0;
    for (int got; (got = getopt_long(argc, argv, "h", table, NULL)) != -1;) {
        if (got == 'h' || got == 'v') {
            if (got == 'h')
                fputs(help, stdout);
            else
                printf("dml-top %d.%d.%d\n", DML_VERSION_MAJOR, DML_VERSION_MINOR,
                       DML_VERSION_PATCH);
            return printed();
        }
        if (got == '?')
            return EXIT_REFUSED;
        top->once |= got == 'o';
        top->color &= got != 'n';
        if (got == 'i' && !read_interval(optarg, &top->interval_s)) {
            fprintf(stderr,
                    "dml-top: --interval needs seconds from 0.05 to 86400, not "
                    "\"%.40s\"\n",
                    optarg);
            return EXIT_REFUSED;
        }
    }
    top->paths = argv + optind;
    top->npaths = (size_t)(argc - optind);
    if (top->npaths > 0)
        return GO_ON;
    fprintf(stderr, "dml-top: which files? see dml-top --help\n");
    return EXIT_REFUSED;
}

int main(int argc, char **argv)
{
    struct top top;
    int status = parse(&top, argc, argv);
    if (status != GO_ON)
        return status;
    top.errors = calloc(top.npaths, sizeof *top.errors);
    if (!top.errors) {
        fprintf(stderr, "dml-top: out of memory\n");
        return 1;
    }
    int code = run(&top);
    free(top.errors);
    return code;
}

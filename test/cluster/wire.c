/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A small Ethernet switch in user space: joins a TAP device of each host of
 * netns-cluster, and gives every link a rate, a delay, a jitter and a loss. It stands
 * for "tc netem", which many kernels lack.
 *
 * A frame into port b starts on b's link when that is free, and is dropped when more
 * than a queue of bytes waits there. It arrives after its time on the link, the delay,
 * and a uniform part of the jitter, in order per port. The sender's own rate is not
 * done here: netns-cluster puts a token bucket on its device, whose queue holds TCP
 * back. Where packets may be lost no offload is announced, so that each is lost on its
 * own.
 */
#include "wire_tap.h"

#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

enum { MAX_PORTS = 64, FRAME_BYTES = 65536 + 512, FRAMES_AT_ONCE = 32 };

/* A port is a little faster than the cards that feed it, and may make up for some
 * lateness: each time this process is held up, on a busy machine, would otherwise leave
 * a queue that a sender at line rate never lets drain. */
static const double port_gain = 1.03;
static const int64_t slack_ns = 1000000;

struct frame {
    struct frame *next;
    int64_t due_ns;
    size_t bytes;
    unsigned char data[];
};

struct port {
    int fd;
    int down;
    int64_t free_ns, last_ns; /* when the link is free; when the last frame arrives */
    struct frame *head, **tail;
    uint64_t frames, bytes, dropped_queue, dropped_loss, dropped_down;
};

struct wire {
    int nports;
    const char *prefix, *device, *folder;
    double bits_per_s, loss, queue_bytes;
    int64_t delay_ns, jitter_ns;
    uint64_t random; /* a fixed seed, so that runs repeat */
    int epoll;
    struct port port[MAX_PORTS];
};

/* Handlers of signals get no argument. */
static volatile sig_atomic_t stop, reload;

static void on_signal(int number)
{
    if (number == SIGUSR1)
        reload = 1;
    else
        stop = 1;
}

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

/* Uniform in [0, 1): Marsaglia's xorshift. */
static double uniform(struct wire *w)
{
    w->random ^= w->random << 13;
    w->random ^= w->random >> 7;
    w->random ^= w->random << 17;
    return (double)(w->random >> 11) / 9007199254740992.0;
}

static int64_t time_on_link_ns(const struct wire *w, double bytes)
{
    return w->bits_per_s > 0 ? (int64_t)(bytes * 8e9 / (w->bits_per_s * port_gain)) : 0;
}

static void enqueue(struct wire *w, int from, int to, const unsigned char *data,
                    size_t bytes, int64_t now)
{
    struct port *port = &w->port[to];
    if (w->port[from].down || port->down) {
        port->dropped_down++;
        return;
    }
    if (w->loss > 0 && uniform(w) < w->loss) {
        port->dropped_loss++;
        return;
    }
    int64_t start = port->free_ns > now - slack_ns ? port->free_ns : now - slack_ns;
    bool full = w->bits_per_s > 0 &&
                start - now > time_on_link_ns(w, w->queue_bytes * port_gain);
    struct frame *frame = full ? NULL : malloc(sizeof *frame + bytes);
    if (frame == NULL) {
        port->dropped_queue++;
        return;
    }
    port->free_ns = start + time_on_link_ns(w, tap_wire_bytes(data, bytes));
    int64_t due = port->free_ns > now ? port->free_ns : now;
    due += w->delay_ns + (int64_t)(uniform(w) * (double)w->jitter_ns);
    port->last_ns = due > port->last_ns ? due : port->last_ns;
    frame->next = NULL;
    frame->due_ns = port->last_ns;
    frame->bytes = bytes;
    memcpy(frame->data, data, bytes);
    *port->tail = frame;
    port->tail = &frame->next;
}

/* Takes what a host has sent: to the port in the last byte of its address 02:..., or to
 * all others. */
static void take_frames(struct wire *w, int from)
{
    static unsigned char data[FRAME_BYTES];
    for (int k = 0; k < FRAMES_AT_ONCE; k++) {
        ssize_t n = read(w->port[from].fd, data, sizeof data);
        if (n < TAP_HEADER_BYTES + 14)
            return;
        const unsigned char *to = data + TAP_HEADER_BYTES;
        static const unsigned char ours[5] = {2};
        int64_t now = now_ns();
        if (memcmp(to, ours, sizeof ours) == 0 && to[5] < w->nports && to[5] != from)
            enqueue(w, from, to[5], data, (size_t)n, now);
        for (int b = 0; (to[0] & 1) != 0 && b < w->nports; b++)
            if (b != from)
                enqueue(w, from, b, data, (size_t)n, now);
    }
}

/* Hands over the frames that are due; returns when the next one is, or INT64_MAX. */
static int64_t deliver(struct wire *w)
{
    int64_t now = now_ns(), next = INT64_MAX;
    for (int i = 0; i < w->nports; i++) {
        struct port *port = &w->port[i];
        struct frame *frame;
        while ((frame = port->head) != NULL && frame->due_ns <= now) {
            if (write(port->fd, frame->data, frame->bytes) == (ssize_t)frame->bytes) {
                port->frames++;
                port->bytes += frame->bytes;
            } else {
                port->dropped_queue++;
            }
            port->head = frame->next;
            if (port->head == NULL)
                port->tail = &port->head;
            free(frame);
        }
        if (frame != NULL && frame->due_ns < next)
            next = frame->due_ns;
    }
    return next;
}

/* File link.hI holds "down" where the link of host I is cut. */
static void read_links(struct wire *w)
{
    for (int i = 0; i < w->nports; i++) {
        char name[32], text[8] = "";
        snprintf(name, sizeof name, "link.h%d", i);
        FILE *file = fopen(name, "r");
        if (file == NULL)
            continue;
        if (fgets(text, sizeof text, file) != NULL)
            w->port[i].down = strncmp(text, "down", 4) == 0;
        fclose(file);
    }
}

static void run(struct wire *w, const sigset_t *unblocked)
{
    while (!stop) {
        if (reload) {
            reload = 0;
            read_links(w);
        }
        int64_t next = deliver(w), left = next - now_ns();
        left = left > 0 ? left : 0;
        struct timespec timeout = {.tv_sec = left / 1000000000,
                                   .tv_nsec = left % 1000000000};
        struct epoll_event events[MAX_PORTS];
        int n = epoll_pwait2(w->epoll, events, MAX_PORTS,
                             next != INT64_MAX ? &timeout : NULL, unblocked);
        for (int i = 0; i < n; i++)
            take_frames(w, (int)events[i].data.u32);
    }
}

static int parse(struct wire *w, int argc, char **argv)
{
    int option;
    while ((option = getopt(argc, argv, "n:p:i:r:d:j:l:q:o:")) != -1)
        switch (option) {
        case 'n':
            w->nports = atoi(optarg);
            break;
        case 'p':
            w->prefix = optarg;
            break;
        case 'i':
            w->device = optarg;
            break;
        case 'r':
            w->bits_per_s = strtod(optarg, NULL);
            break;
        case 'd':
            w->delay_ns = strtoll(optarg, NULL, 10);
            break;
        case 'j':
            w->jitter_ns = strtoll(optarg, NULL, 10);
            break;
        case 'l':
            w->loss = strtod(optarg, NULL) / 100;
            break;
        case 'q':
            w->queue_bytes = strtod(optarg, NULL);
            break;
        case 'o':
            w->folder = optarg;
            break;
        default:
            return 0;
        }
    return w->nports > 0 && w->nports <= MAX_PORTS && w->prefix != NULL;
}

static void open_ports(struct wire *w)
{
    w->epoll = epoll_create1(EPOLL_CLOEXEC);
    for (int i = 0; i < w->nports; i++) {
        char path[256];
        snprintf(path, sizeof path, "%s%d", w->prefix, i);
        w->port[i].fd = tap_open(path, w->device, !(w->loss > 0));
        w->port[i].tail = &w->port[i].head;
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = (uint32_t)i};
        if (epoll_ctl(w->epoll, EPOLL_CTL_ADD, w->port[i].fd, &event) != 0) {
            perror("wire: epoll");
            exit(1);
        }
    }
}

int main(int argc, char **argv)
{
    static struct wire w = {.device = "eth0",
                            .folder = ".",
                            .queue_bytes = 4194304,
                            .random = UINT64_C(88172645463325252)};
    if (!parse(&w, argc, argv) || chdir(w.folder) != 0) {
        fprintf(stderr,
                "usage: wire -n PORTS -p NAMESPACE_PREFIX [-i DEVICE] "
                "[-r BIT/S] [-d NS] [-j NS] [-l PERCENT] [-q BYTES] [-o DIR]\n");
        return 2;
    }
    open_ports(&w);
    static const int numbers[] = {SIGUSR1, SIGTERM, SIGINT};
    struct sigaction action = {.sa_handler = on_signal};
    sigset_t blocked, unblocked;
    sigemptyset(&blocked);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        sigaction(numbers[i], &action, NULL);
        sigaddset(&blocked, numbers[i]);
    }
    sigprocmask(SIG_BLOCK, &blocked, &unblocked);
    /* Ahead of ranks that poll, or delays become those of the scheduler. */
    struct sched_param priority = {.sched_priority = 10};
    if (sched_setscheduler(0, SCHED_FIFO, &priority) != 0)
        perror("wire: SCHED_FIFO, so delays will be coarse");
    FILE *ready = fopen("wire.ready", "w");
    if (ready != NULL)
        fclose(ready);
    run(&w, &unblocked);
    for (int i = 0; i < w.nports; i++) {
        const struct port *port = &w.port[i];
        printf(
            "port %d: delivered %ju frames, %ju bytes; dropped: queue %ju, loss %ju, "
            "link down %ju\n",
            i, (uintmax_t)port->frames, (uintmax_t)port->bytes,
            (uintmax_t)port->dropped_queue, (uintmax_t)port->dropped_loss,
            (uintmax_t)port->dropped_down);
    }
    return 0;
}

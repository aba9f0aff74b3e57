// SPDX-License-Identifier: BSD-3-Clause
/*
 * Runs a kernel's grid on one processor: the fake device calls emulate_launch() where
 * $DML_TEST_GPU_KERNELS names this module, instead of the kernel's host function.
 *
 * A thread runs until it meets others, and then the next one does, in an order that is
 * drawn anew each time, as is that of the blocks: what relies on an order shows. A
 * thread that ends, or meets at another line of the source, while others wait for it is
 * an error here as it is on a device (two calls of a function that meets within are one
 * line); so is a part of a warp that meets by itself. Each thread that has met
 * somebody has a stack of its own; others follow each other on one.
 */
#include "emulate.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <ucontext.h>
#include <vector>

struct emulate_dim threadIdx, blockIdx, blockDim, gridDim;

namespace
{

enum { LANES = 32, STACK = 256 * 1024 };
enum state { READY, AT_BLOCK, AT_WARP, DONE };

/* A stack, and where on it to go on: by a jump, which costs no call of the system. */
struct fiber {
    jmp_buf here;
    std::vector<char> stack = std::vector<char>(STACK);
};

struct thread {
    enum state state;
    struct fiber *fiber;
    int line;          /* where it waits */
    unsigned long met; /* how often its warp has */
};

pthread_mutex_t gate =
    PTHREAD_MUTEX_INITIALIZER; /* of all below: streams are threads */
struct emulate_kernel *kernels;
const struct emulate_kernel *running;
const void *arguments;
std::vector<thread> threads;
std::vector<fiber *> idle;
/* What lanes bring to their meetings, the last two of each warp. */
std::vector<uint64_t> brought[2];
jmp_buf scheduler;
unsigned current;
uint64_t drawn = 88172645463325252u; /* xorshift64 (Marsaglia 2003) */

unsigned draw(unsigned n)
{
    drawn ^= drawn << 13;
    drawn ^= drawn >> 7;
    drawn ^= drawn << 17;
    return (unsigned)(drawn >> 11) % n;
}

[[noreturn]] void fail(const char *what, unsigned thread, const char *more)
{
    fprintf(stderr,
            "emulate: %s: %s: thread %u of block %u, which waits at line %d; %s\n",
            running->name, what, thread, blockIdx.x, threads[thread].line, more);
    abort();
}

/* 0, 1, ... n - 1 in some order. */
std::vector<unsigned> shuffled(unsigned n)
{
    std::vector<unsigned> order(n);
    for (unsigned i = 0; i < n; i++) {
        const unsigned j = draw(i + 1);
        order[i] = order[j];
        order[j] = i;
    }
    return order;
}

std::vector<unsigned> turn; /* the threads in the order in which they begin */
size_t begun;

/* The body of a fiber: threads that have not begun, one behind the other. One that
 * waits keeps the fiber, and it ends with it, as by then all have begun. */
void work(void)
{
    struct fiber *own = idle.back();
    while (begun < turn.size()) {
        current = turn[begun++];
        threadIdx.x = current;
        threads[current].fiber = own;
        running->run(arguments);
        threads[current].state = DONE;
    }
    _longjmp(scheduler, 1);
}

/* Goes on where the fiber waits, until it waits again or ends. */
void enter(struct fiber *fiber)
{
    if (_setjmp(scheduler) == 0)
        _longjmp(fiber->here, 1);
}

/* A fiber for threads that have not begun. */
void begin_some(void)
{
    if (idle.empty())
        idle.push_back(new struct fiber);
    struct fiber *fiber = idle.back();
    ucontext_t context;
    getcontext(&context);
    context.uc_stack.ss_sp = fiber->stack.data();
    context.uc_stack.ss_size = fiber->stack.size();
    context.uc_link = nullptr;
    makecontext(&context, work, 0);
    if (_setjmp(scheduler) == 0)
        setcontext(&context);
}

void wait(enum state state, int line)
{
    const unsigned own = current;
    struct thread &t = threads[own];
    t.state = state;
    t.line = line;
    if (!idle.empty() && idle.back() == t.fiber)
        idle.pop_back(); /* it is this thread's from now on */
    if (_setjmp(t.fiber->here) == 0)
        _longjmp(scheduler, 1);
    current = own;
    threadIdx.x = own;
}

/* Runs all threads that can. */
void run_ready(void)
{
    while (begun < turn.size())
        begin_some();
    for (unsigned i : shuffled((unsigned)threads.size())) {
        struct thread &t = threads[i];
        if (t.state != READY)
            continue;
        enter(t.fiber);
        if (t.state == DONE)
            idle.push_back(t.fiber);
    }
}

/* Lets warps go on whose lanes have all met; false if none has. */
bool release_warps(void)
{
    bool any = false;
    for (unsigned first = 0; first < threads.size(); first += LANES) {
        unsigned waiting = 0;
        for (unsigned i = first; i < first + LANES; i++)
            waiting += threads[i].state == AT_WARP;
        if (waiting == 0)
            continue;
        for (unsigned i = first; i < first + LANES; i++) {
            const unsigned other = threads[first].state == AT_WARP ? first : i;
            if (threads[i].state != AT_WARP)
                fail("a lane is missing where its warp meets", other,
                     threads[i].state == DONE ? "one has ended"
                                              : "one waits for its block");
            if (threads[i].line != threads[first].line)
                fail("lanes of a warp meet at different lines", first,
                     "others elsewhere");
        }
        for (unsigned i = first; i < first + LANES; i++) {
            threads[i].state = READY;
            threads[i].met++;
        }
        any = true;
    }
    return any;
}

/* The same of the block, all of whose threads wait. */
void release_block(void)
{
    for (unsigned i = 0; i < threads.size(); i++) {
        if (threads[i].state != AT_BLOCK)
            fail("a thread has ended while its block meets",
                 threads[0].state == DONE ? i : 0, "it did not come");
        if (threads[i].line != threads[0].line)
            fail("threads of a block meet at different lines", i,
                 "the first elsewhere");
    }
    for (struct thread &t : threads)
        t.state = READY;
}

bool all_done(void)
{
    for (const struct thread &t : threads)
        if (t.state != DONE)
            return false;
    return true;
}

bool any_waits_for_block(void)
{
    for (const struct thread &t : threads)
        if (t.state == AT_BLOCK)
            return true;
    return false;
}

void run_block(unsigned block, unsigned nthreads)
{
    blockIdx.x = block;
    threads.assign(nthreads, {READY, nullptr, 0, 0});
    for (auto &values : brought)
        values.assign(nthreads, 0);
    turn = shuffled(nthreads);
    begun = 0;
    run_ready();
    while (!all_done()) {
        if (!release_warps() && any_waits_for_block())
            release_block();
        run_ready();
    }
}

} // namespace

emulate_kernel::emulate_kernel(const char *name_, void (*run_)(const void *args))
    : name(name_), run(run_), next(kernels)
{
    kernels = this;
}

void emulate_meet_block(int line)
{
    wait(AT_BLOCK, line);
}

const uint64_t *emulate_meet_warp(unsigned lanes, uint64_t value, int line)
{
    const unsigned own = current, side = threads[own].met % 2;
    if (lanes != 0xffffffffu)
        fail("part of a warp meets, which is not emulated", own, "");
    brought[side][own] = value;
    wait(AT_WARP, line);
    return &brought[side][own / LANES * LANES];
}

/* Called by the fake device for each launch; false: a kernel of a test's own. */
extern "C" __attribute__((visibility("default"))) bool
emulate_launch(const char *name, unsigned blocks, unsigned nthreads, const void *args)
{
    const struct emulate_kernel *kernel = kernels;
    while (kernel != nullptr && strcmp(kernel->name, name) != 0)
        kernel = kernel->next;
    if (kernel == nullptr) {
        if (strncmp(name, "dml__", 5) != 0 && strncmp(name, "cnn_", 4) != 0)
            return false;
        fprintf(stderr, "emulate: the kernel %s has no EMULATE() line\n", name);
        abort();
    }
    if (nthreads % LANES != 0) {
        fprintf(stderr, "emulate: %s: %u threads are no whole warps\n", name, nthreads);
        abort();
    }
    pthread_mutex_lock(&gate);
    running = kernel;
    arguments = args;
    blockDim.x = nthreads;
    gridDim.x = blocks;
    for (unsigned block : shuffled(blocks))
        run_block(block, nthreads);
    pthread_mutex_unlock(&gate);
    return true;
}

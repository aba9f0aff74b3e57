/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Loaded before a program (LD_PRELOAD), makes its calls of the system fail, on the rank
 * that $FAULT_RANK names, or on each:
 *
 *   FAULT_MEMORY=i   the first allocation at the i-th place of the program or of libdml
 *                    that allocates, in the order in which the run comes to them; a
 * place is four calls deep. What does not end from it allocates as before.
 *   FAULT_WRITE=i    from the i-th write of a regular file on: EIO
 *   FAULT_SYNC=i     the i-th fsync: EIO; -1: they do nothing, however slow the disk
 *   FAULT_LENGTH=i   no file may grow beyond i bytes (as ulimit -f) once MPI has begun,
 *                    which writes longer ones of its own
 *   FAULT_SIGNAL=1   from SIGUSR2 on the program and libdml get no more memory; from
 * the next one on they do
 *
 * A line "fault injected" is written to the file $FAULT_TOLD when it happens.
 */
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t count, size_t bytes);
void *__libc_realloc(void *memory, size_t bytes);
void *__libc_memalign(size_t align, size_t bytes);

enum { SITES = 16384, DEPTH = 4 };

static struct {
    long memory, write, sync;
    long nsites, nwrites, nsyncs;
    uint64_t sites[SITES]; /* hashes, open addressing */
    bool ready;
} state;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static __thread bool inside;
static volatile sig_atomic_t exhausted;

static long number(const char *name)
{
    const char *text = getenv(name);
    return text ? strtol(text, NULL, 10) : 0;
}

static void on_signal(int number)
{
    (void)number;
    exhausted = !exhausted;
}

__attribute__((constructor)) static void begin(void)
{
    const struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    const char *rank = getenv("OMPI_COMM_WORLD_RANK"), *wanted = getenv("FAULT_RANK");
    void *frames[DEPTH];
    if (!rank)
        rank = getenv("PMI_RANK");
    if (wanted && strcmp(rank ? rank : "0", wanted) != 0)
        return;
    inside = true;
    backtrace(frames, DEPTH); /* allocates the first time */
    inside = false;
    state.memory = number("FAULT_MEMORY");
    state.write = number("FAULT_WRITE");
    state.sync = number("FAULT_SYNC");
    if (number("FAULT_SIGNAL") > 0)
        sigaction(SIGUSR2, &action, NULL);
    state.ready = true;
}

static void tell(void)
{
    const char *path = getenv("FAULT_TOLD");
    int fd = path ? open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600) : -1;
    if (fd >= 0) {
        syscall(SYS_write, fd, "fault injected\n", (size_t)15);
        close(fd);
    }
}

/* ---- memory ------------------------------------------------------------------------
 */

/* Is it code of the program or of libdml? Others' allocations are their own. */
static bool is_ours(const void *address)
{
    static char program[4096];
    Dl_info info;
    if (program[0] == '\0' &&
        readlink("/proc/self/exe", program, sizeof program - 1) < 0)
        return false;
    if (!dladdr(address, &info) || !info.dli_fname)
        return false;
    const char *file = strrchr(info.dli_fname, '/');
    file = file ? file + 1 : info.dli_fname;
    const char *own = strrchr(program, '/');
    return strncmp(file, "libdml.so", 9) == 0 || (own && strcmp(file, own + 1) == 0);
}

static bool is_new(uint64_t hash)
{
    size_t at = (size_t)(hash % SITES);
    for (size_t i = 0; i < SITES; i++, at = (at + 1) % SITES) {
        if (state.sites[at] == hash)
            return false;
        if (state.sites[at] == 0) {
            state.sites[at] = hash;
            return true;
        }
    }
    return false;
}

static bool memory_fails(const void *caller)
{
    bool fails = false;
    void *frames[DEPTH + 2];
    if (!state.ready || (state.memory <= 0 && !exhausted) || inside)
        return false;
    inside = true;
    if (exhausted) {
        fails = is_ours(caller);
    } else if (is_ours(caller)) {
        uint64_t hash = 1469598103934665603u;
        int depth = backtrace(frames, DEPTH + 2);
        for (int i = 2; i < depth; i++)
            hash = (hash ^ (uintptr_t)frames[i]) * 1099511628211u;
        pthread_mutex_lock(&lock);
        if (is_new(hash | 1))
            fails = ++state.nsites == state.memory;
        pthread_mutex_unlock(&lock);
    }
    if (fails) {
        errno = ENOMEM;
        tell();
        errno = ENOMEM;
    }
    inside = false;
    return fails;
}

void *malloc(size_t bytes)
{
    return memory_fails(__builtin_return_address(0)) ? NULL : __libc_malloc(bytes);
}

void *calloc(size_t count, size_t bytes)
{
    return memory_fails(__builtin_return_address(0)) ? NULL
                                                     : __libc_calloc(count, bytes);
}

void *realloc(void *memory, size_t bytes)
{
    return memory_fails(__builtin_return_address(0)) ? NULL
                                                     : __libc_realloc(memory, bytes);
}

void *aligned_alloc(size_t align, size_t bytes)
{
    return memory_fails(__builtin_return_address(0)) ? NULL
                                                     : __libc_memalign(align, bytes);
}

static char *copy(const char *text, size_t bytes)
{
    char *memory = __libc_malloc(bytes + 1);
    if (memory) {
        memcpy(memory, text, bytes);
        memory[bytes] = '\0';
    }
    return memory;
}

char *strdup(const char *text)
{
    return memory_fails(__builtin_return_address(0)) ? NULL : copy(text, strlen(text));
}

char *strndup(const char *text, size_t most)
{
    return memory_fails(__builtin_return_address(0)) ? NULL
                                                     : copy(text, strnlen(text, most));
}

/* ---- files -------------------------------------------------------------------------
 */

static bool counts_to(long wanted, long *count)
{
    pthread_mutex_lock(&lock);
    bool fails = state.ready && wanted > 0 && ++*count >= wanted;
    bool first = fails && *count == wanted;
    pthread_mutex_unlock(&lock);
    if (first)
        tell();
    if (fails)
        errno = EIO;
    return fails;
}

static bool is_regular(int fd)
{
    struct stat info;
    return fstat(fd, &info) == 0 && S_ISREG(info.st_mode);
}

ssize_t write(int fd, const void *data, size_t bytes)
{
    if (state.write > 0 && is_regular(fd) && counts_to(state.write, &state.nwrites))
        return -1;
    return syscall(SYS_write, fd, data, bytes);
}

ssize_t pwrite(int fd, const void *data, size_t bytes, off_t at)
{
    if (state.write > 0 && is_regular(fd) && counts_to(state.write, &state.nwrites))
        return -1;
    return syscall(SYS_pwrite64, fd, data, bytes, at);
}

/* A stream's own writes are no calls that can be stood in for: the stream fails. */
size_t fwrite(const void *data, size_t bytes, size_t count, FILE *file)
{
    static size_t (*real)(const void *, size_t, size_t, FILE *);
    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "fwrite");
    int fd = state.write > 0 ? fileno(file) : -1;
    if (fd > 2 && is_regular(fd) && counts_to(state.write, &state.nwrites))
        return 0;
    return real(data, bytes, count, file);
}

int fflush(FILE *file)
{
    static int (*real)(FILE *);
    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "fflush");
    int fd = state.write > 0 && file ? fileno(file) : -1;
    if (fd > 2 && is_regular(fd) && counts_to(state.write, &state.nwrites))
        return EOF;
    return real(file);
}

int fsync(int fd)
{
    if (state.sync < 0)
        return 0;
    if (state.sync > 0 && counts_to(state.sync, &state.nsyncs))
        return -1;
    return (int)syscall(SYS_fsync, fd);
}

int MPI_Init_thread(int *argc, char ***argv, int required, int *provided);

int MPI_Init_thread(int *argc, char ***argv, int required, int *provided)
{
    int (*real)(int *, char ***, int, int *);
    *(void **)&real = dlsym(RTLD_NEXT, "MPI_Init_thread");
    int result = real(argc, argv, required, provided);
    const long length = state.ready ? number("FAULT_LENGTH") : 0;
    const struct rlimit limit = {(rlim_t)length, RLIM_INFINITY};
    if (length > 0 && setrlimit(RLIMIT_FSIZE, &limit) == 0)
        tell();
    return result;
}

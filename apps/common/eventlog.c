/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * JSON lines, by jansson. A line is one write to the end of the file, so that what is
 * there is whole lines whenever the job ends; of one that a full disk cut, the part is
 * taken back.
 */
#include "eventlog.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* A pipe would hold up the training where nobody reads it, and end it where the reader
 * has gone. */
static int open_path(const char *path)
{
    struct stat info;
    if (strcmp(path, "-") == 0) {
        fflush(stdout);
        return fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    }
    if (stat(path, &info) == 0 && (S_ISFIFO(info.st_mode) || S_ISSOCK(info.st_mode))) {
        errno = ESPIPE;
        return -1;
    }
    return open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
}

dml_status eventlog_open(struct eventlog *log, const char *path, char *error,
                         size_t error_bytes)
{
    *log = (struct eventlog){.path = strdup(path), .fd = -1};
    pthread_mutex_init(&log->lock, NULL);
    int code = ENOMEM;
    if (log->path) {
        log->fd = open_path(path);
        code = log->fd < 0 ? errno : 0;
    }
    if (code == 0)
        return DML_OK;
    snprintf(error, error_bytes,
             "--log-json: cannot write %.300s: %s; give a file in a folder that may be "
             "written, or - for standard output",
             path, code == ESPIPE ? "it is a pipe" : strerror(code));
    eventlog_close(log);
    return DML_EIO;
}

/* 0, or errno. */
static int append(struct eventlog *log, const char *line, size_t bytes)
{
    struct stat info;
    bool file = fstat(log->fd, &info) == 0 && S_ISREG(info.st_mode);
    size_t done = 0;
    while (done < bytes) {
        ssize_t n = write(log->fd, line + done, bytes - done);
        if (n > 0)
            done += (size_t)n;
        else if (n < 0 && errno != EINTR)
            break;
    }
    int code = done < bytes ? errno : 0;
    if (code != 0 && done > 0 && file && ftruncate(log->fd, info.st_size) != 0)
        return errno;
    return code;
}

json_t *eventlog_text(const char *text)
{
    json_t *json = json_string(text);
    char *plain = json ? NULL : strdup(text);
    for (char *at = plain; at && *at; at++)
        if ((unsigned char)*at >= 0x80)
            *at = '?';
    if (plain)
        json = json_string(plain);
    free(plain);
    return json ? json : json_null();
}

static json_t *make_line(const char *event, json_t *more)
{
    struct timespec now;
    struct tm utc;
    char text[64], time_text[80];
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(time_text, sizeof time_text, "%s.%03ldZ", text, now.tv_nsec / 1000000);
    json_t *line = json_pack("{s:s, s:s}", "time", time_text, "event", event);
    if (line && more)
        json_object_update(line, more);
    return line;
}

int eventlog_write(struct eventlog *log, const char *event, json_t *more)
{
    int code = 0;
    if (log->path) {
        json_t *line = make_line(event, more);
        char *text = json_dumps(line, JSON_COMPACT | JSON_REAL_PRECISION(9));
        size_t bytes = text ? strlen(text) : 0;
        if (text) {
            text[bytes] = '\n'; /* in place of the final zero */
            pthread_mutex_lock(&log->lock);
            code = append(log, text, bytes + 1);
            log->failing = code != 0;
            pthread_mutex_unlock(&log->lock);
        } else {
            code = ENOMEM;
        }
        free(text);
        json_decref(line);
    }
    json_decref(more);
    return code;
}

void eventlog_close(struct eventlog *log)
{
    if (log->fd >= 0 && log->path)
        close(log->fd);
    free(log->path);
    *log = (struct eventlog){.fd = -1};
}

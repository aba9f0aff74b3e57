/* SPDX-License-Identifier: BSD-3-Clause */
/* Options from files; see option_file.c. */
#ifndef APPS_OPTION_FILE_H
#define APPS_OPTION_FILE_H

#include "cli.h"

#include <stdbool.h>

/* A command line with the words of option files in it. */
struct option_words {
    int argc;
    char **argv;        /* [argc + 1] */
    char **texts;       /* [ntexts] the files' texts, in which words lie */
    const char **paths; /* [ntexts] borrowed from argv */
    int ntexts;
};

/* Replace every "--options FILE" (or "--options=FILE") by the file's words. False: one
 * line in error. Free in any case. */
bool option_words_read(struct option_words *words, int argc, char **argv,
                       char error[CLI_TEXT]);
void option_words_free(struct option_words *words);

#endif

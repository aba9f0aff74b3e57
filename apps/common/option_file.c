/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Recipes: "--options FILE" stands for the options in a file, as they would be typed,
 * in any number of lines. "#" begins a comment. Words are put in place of the option
 * before the command line is parsed, so whatever comes later wins, and mistakes are
 * told as for any option. A file cannot name another.
 */
#include "option_file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MAX_WORDS 1024
#define MAX_BYTES 65536

static const char name[] = "--options";

static bool fail(char error[CLI_TEXT], const char *path, const char *why)
{
    snprintf(error, CLI_TEXT, "cannot read options from %.300s: %s", path, why);
    return false;
}

/* The whole text of a file, kept in "words"; NULL with the line in error. */
static char *read_text(struct option_words *words, const char *path,
                       char error[CLI_TEXT])
{
    FILE *file = fopen(path, "r");
    char *text = calloc(1, MAX_BYTES + 1);
    if (!file || !text) {
        fail(error, path, strerror(file ? ENOMEM : errno));
        free(text);
        if (file)
            fclose(file);
        return NULL;
    }
    errno = 0;
    size_t length = fread(text, 1, MAX_BYTES + 1, file);
    bool good = !ferror(file) && length <= MAX_BYTES && !memchr(text, '\0', length);
    if (!good)
        fail(error, path, errno ? strerror(errno) : "not a text of at most 64 KiB");
    fclose(file);
    text[good ? length : 0] = '\0';
    words->paths[words->ntexts] = path;
    words->texts[words->ntexts++] = text;
    return good ? text : NULL;
}

static bool add_word(struct option_words *words, char *word, char error[CLI_TEXT])
{
    if (words->argc == MAX_WORDS) {
        snprintf(error, CLI_TEXT, "more than %d words of options", MAX_WORDS);
        return false;
    }
    words->argv[words->argc++] = word;
    return true;
}

static bool add_file(struct option_words *words, const char *path, char error[CLI_TEXT])
{
    char *text = read_text(words, path, error);
    if (!text)
        return false;
    for (char *comment = strchr(text, '#'); comment; comment = strchr(comment, '#'))
        while (*comment && *comment != '\n')
            *comment++ = ' ';
    char *rest = NULL;
    for (char *word = strtok_r(text, " \t\r\n", &rest); word;
         word = strtok_r(NULL, " \t\r\n", &rest)) {
        if (strncmp(word, name, sizeof name - 1) == 0)
            return fail(error, path, "a file of options cannot name another");
        if (!add_word(words, word, error))
            return false;
    }
    return true;
}

bool option_words_read(struct option_words *words, int argc, char **argv,
                       char error[CLI_TEXT])
{
    *words = (struct option_words){0};
    words->argv = calloc(MAX_WORDS + 1, sizeof *words->argv);
    words->texts = calloc((size_t)argc + 1, sizeof *words->texts);
    words->paths = calloc((size_t)argc + 1, sizeof *words->paths);
    if (!words->argv || !words->texts || !words->paths) {
        snprintf(error, CLI_TEXT, "out of memory for the command line");
        return false;
    }
    for (int i = 0; i < argc; i++) {
        const char *path = NULL;
        if (strncmp(argv[i], "--options=", sizeof name) == 0)
            path = argv[i] + sizeof name;
        else if (strcmp(argv[i], name) == 0 && i + 1 < argc)
            path = argv[++i];
        if (!(path ? add_file(words, path, error) : add_word(words, argv[i], error)))
            return false;
    }
    return true;
}

void option_words_free(struct option_words *words)
{
    for (int i = 0; i < words->ntexts; i++)
        free(words->texts[i]);
    free(words->texts);
    free(words->paths);
    free(words->argv);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Files of options (dml-cnn --options): words in order, or one line of error.
 */
#include "fuzz.h"
#include "option_file.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct option_words words;
    char error[CLI_TEXT] = "", path[CLI_TEXT];
    char name[] = "x", option[] = "--options", last[] = "y";
    char *argv[] = {name, option, path, last};
    snprintf(path, sizeof path, "%s", fuzz_file("", data, size));
    if (option_words_read(&words, 4, argv, error)) {
        fuzz_require(words.argc >= 2 && strcmp(words.argv[words.argc - 1], "y") == 0);
        for (int i = 0; i < words.argc; i++)
            fuzz_require(words.argv[i][0] != '\0');
    } else {
        fuzz_require(error[0] != '\0' && strchr(error, '\n') == NULL);
    }
    option_words_free(&words);
    return 0;
}

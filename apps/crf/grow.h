/* SPDX-License-Identifier: BSD-3-Clause */
/* Arrays that grow by doubling. */
#ifndef CRF_GROW_H
#define CRF_GROW_H

#include <stdbool.h>
#include <stdlib.h>

/* Make room for "need" elements; false, and the array is as it was, when memory is
 * short. */
static inline bool grow(void **array, size_t *room, size_t need, size_t bytes)
{
    if (need <= *room)
        return true;
    size_t wanted = *room ? *room : 64;
    while (wanted < need)
        wanted *= 2;
    void *grown = realloc(*array, wanted * bytes);
    if (!grown)
        return false;
    *array = grown;
    *room = wanted;
    return true;
}

#define GROW(array, room, need) \
    grow((void **)&(array), &(room), (need), sizeof *(array))

#endif

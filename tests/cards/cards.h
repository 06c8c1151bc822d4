/* cards: a made-up machine with GPUs, as three libraries that a trainer loads by
 * their real names: the driver (driver.c), NVML (nvml.c), and the cuda backend on
 * the execution layer of the tests (backend.c). The environment says how the
 * machine is:
 *
 *   CARDS                 how many there are (2)
 *   CUDA_VISIBLE_DEVICES  numbers of those that CUDA shows, in its order (all)
 *   CARDS_SLICES          the cards from this number on are slices (MIG) of one (none)
 *   CARDS_DRIVER          version of the driver (580.99.01)
 *   CARDS_CUDA            version of CUDA that it is for (13000)
 *   CARDS_REFUSES         what the driver refuses of captures (enum cuda_host_refusal; nothing)
 *   CARDS_STATE           file with a line "USED_MIB UTILISATION TEMPERATURE" a
 *                         card, read at every look (1024 and 10 * n, 7 * n, 40 + n)
 *   CARDS_OWN             MiB that a process has of each card (600); 0: it is not told
 *   CARDS_FAULT           what is wrong with the cards (nothing), or the path of a file
 *                         that says so whenever it is asked: `operation`: one adds
 *                         wrongly; `tail`: long sums of products lose their end;
 *                         `product`: so does cuBLASLt, of every sum;
 *                         `barrier`: a kernel lacks one; `replay`: a recorded program
 *                         does something else; `memory`: there is too little; `hang`,
 *                         `crash`, `device`: of one operation; `attention`: it gives
 *                         zeros; `gradient`: that of one kind of tensor is zero
 *
 * Card n has the UUID whose bytes are n + 1, n + 2, ... */
#ifndef TOKENFATE_CARDS_H
#define TOKENFATE_CARDS_H

#include <stdlib.h>

enum { CARDS_MAX = 16, CARDS_MEMORY_MIB = 4096, CARDS_CUDA_VERSION = 13000 };

static inline int cards_number(const char *name, int otherwise)
{
    const char *text = getenv(name);
    return text ? atoi(text) : otherwise;
}

/* Numbers of the cards that CUDA shows; how many. */
static inline int cards_visible(int card[CARDS_MAX])
{
    const char *list = getenv("CUDA_VISIBLE_DEVICES");
    const int all = cards_number("CARDS", 2);
    int n = 0;
    for (int i = 0; !list && i < all; i++)
        card[n++] = i;
    for (char *end; list && *list && n < CARDS_MAX; list = *end ? end + 1 : end) {
        const long number = strtol(list, &end, 10);
        if (end == list || number < 0 || number >= all)
            break; /* as CUDA: the first bad one ends the list */
        card[n++] = (int)number;
    }
    return n;
}

#endif

/* driver: libcuda.so.1 of the made-up machine (cards.h): as much of NVIDIA's
 * driver interface as gpu/nvml.c asks for. */
#include "tests/cards/cards.h"

enum { INVALID_VALUE = 1, INVALID_DEVICE = 101, UUID_BYTES = 16 };
enum { MULTIPROCESSORS = 16, MULTIPROCESSORS_HERE = 132 };

int cuInit(unsigned flags);
int cuDeviceGetCount(int *out);
int cuDeviceGet(int *out, int number);
int cuDeviceGetUuid_v2(unsigned char uuid[UUID_BYTES], int device);
int cuDeviceGetAttribute(int *out, int attribute, int device);

int cuInit(unsigned flags)
{
    return flags == 0 ? 0 : INVALID_VALUE;
}

int cuDeviceGetCount(int *out)
{
    int card[CARDS_MAX];
    *out = cards_visible(card);
    return 0;
}

int cuDeviceGet(int *out, int number)
{
    int card[CARDS_MAX];
    if (number < 0 || number >= cards_visible(card))
        return INVALID_DEVICE;
    *out = number;
    return 0;
}

int cuDeviceGetUuid_v2(unsigned char uuid[UUID_BYTES], int device)
{
    int card[CARDS_MAX];
    cards_visible(card);
    for (int i = 0; i < UUID_BYTES; i++)
        uuid[i] = (unsigned char)(card[device] + 1 + i);
    return 0;
}

int cuDeviceGetAttribute(int *out, int attribute, int device)
{
    (void)device;
    if (attribute != MULTIPROCESSORS)
        return INVALID_VALUE;
    *out = MULTIPROCESSORS_HERE;
    return 0;
}

/* pointer: see pointer.h. */
#include "config/pointer.h"

#include <stdio.h>
#include <string.h>

void pointer_member(char pointer[ERR_POINTER_MAX], const char *base, const char *key)
{
    size_t used = strnlen(base, ERR_POINTER_MAX - 2);
    memcpy(pointer, base, used);
    pointer[used++] = '/';
    while (*key) {
        int is_special = *key == '~' || *key == '/';
        size_t bytes = 1, room = ERR_POINTER_MAX - 1 - used;
        while (((unsigned char)key[bytes] & 0xC0) == 0x80)
            bytes++;
        if (room < (is_special ? 2 : bytes))
            break;
        if (is_special) {
            pointer[used++] = '~';
            pointer[used++] = *key == '~' ? '0' : '1';
        } else {
            memcpy(pointer + used, key, bytes);
            used += bytes;
        }
        key += bytes;
    }
    pointer[used] = '\0';
}

void pointer_index(char pointer[ERR_POINTER_MAX], const char *base, size_t index)
{
    char digits[24];
    snprintf(digits, sizeof digits, "%zu", index);
    pointer_member(pointer, base, digits);
}

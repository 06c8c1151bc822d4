/* Content-Type against a media type: case, blanks, charset, other parameters. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "server/http/media.h"

static void types_and_parameters(void **state)
{
    (void)state;
    static const struct {
        const char *header;
        enum media_fit fit;
    } cases[] = {
        {"text/plain", MEDIA_FITS},
        {" TEXT/Plain\t", MEDIA_FITS},
        {"text/plain;", MEDIA_FITS},
        {"text/plain ; charset=utf-8", MEDIA_FITS},
        {"text/plain;charset=\"UTF-8\"", MEDIA_FITS},
        {"text/plain; Charset=utf8 ;; ", MEDIA_FITS},
        {"", MEDIA_OTHER_TYPE},
        {"text/plainx", MEDIA_OTHER_TYPE},
        {"text", MEDIA_OTHER_TYPE},
        {"text/plain, text/plain", MEDIA_OTHER_TYPE},
        {"multipart/form-data; boundary=x", MEDIA_OTHER_TYPE},
        {"text/plain; charset=utf-16", MEDIA_OTHER_PARAMETER},
        {"text/plain; charset=utf-8; charset=latin1", MEDIA_OTHER_PARAMETER},
        {"text/plain; charset=", MEDIA_OTHER_PARAMETER},
        {"text/plain; charset", MEDIA_OTHER_PARAMETER},
        {"text/plain; charset=\"utf-8", MEDIA_FITS},
        {"text/plain; charset=\"utf-8\" x", MEDIA_OTHER_PARAMETER},
        {"text/plain; format=flowed", MEDIA_OTHER_PARAMETER},
        {"text/plain charset=utf-8", MEDIA_OTHER_PARAMETER},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (media_compare(cases[i].header, "text/plain") != cases[i].fit)
            fail_msg("\"%s\" is not %d", cases[i].header, (int)cases[i].fit);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(types_and_parameters)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

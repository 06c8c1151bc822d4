/* progress: see progress.h. */
#include "server/cli/progress.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "config/clock.h"
#include "config/readable.h"

enum {
    PROGRESS_LINE_MAX = 256,   /* bytes of the line */
    PROGRESS_COLUMNS = 80,     /* of a terminal that does not say */
    PROGRESS_REFRESH_MS = 100, /* period of the line on a terminal */
    PROGRESS_PLAIN_LINES = 10  /* lines without a terminal */
};

struct progress progress_begin(void)
{
    return (struct progress){.is_terminal = isatty(STDERR_FILENO), .shown_epoch = -1};
}

/* Append a part to the line, if all of it fits into width columns. */
static void progress_part(char text[PROGRESS_LINE_MAX], size_t width, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static void progress_part(char text[PROGRESS_LINE_MAX], size_t width, const char *format, ...)
{
    char part[PROGRESS_LINE_MAX];
    const size_t used = strlen(text);
    va_list args;
    va_start(args, format);
    const int n = vsnprintf(part, sizeof part, format, args);
    va_end(args);
    if (n > 0 && used + 2 + (size_t)n <= width)
        snprintf(text + used, PROGRESS_LINE_MAX - used, "%s%s", used ? "  " : "", part);
}

/* "epoch 250/500  loss 7.012  0:45 left  most_common -7.41 ...  26.0k tokens/s": what a narrow
 * terminal has no room for is left out, so the line never wraps. */
static void progress_text(const struct progress_news *news, char text[PROGRESS_LINE_MAX],
                          size_t width)
{
    const double rate = news->tokens_per_second, left = news->seconds_left;
    text[0] = '\0';
    progress_part(text, width, "epoch %lld/%lld", (long long)news->epoch, (long long)news->epochs);
    progress_part(text, width, "loss %s", readable(news->loss, 3).text);
    if (isfinite(left))
        progress_part(text, width, "%d:%02d left", (int)(left / 60), (int)left % 60);
    for (int i = 0; i < news->n_groups; i++)
        progress_part(text, width, "%s %s", news->name[i],
                      isfinite(news->logp[i]) ? readable(news->logp[i], 2).text : "-");
    if (isfinite(rate) && rate > 0)
        progress_part(text, width, rate < 1e4 ? "%.0f tokens/s" : "%.3gk tokens/s",
                      rate < 1e4 ? rate : rate / 1000);
}

/* Columns for the line: the terminal's less one, so that it never wraps. */
static size_t progress_width(const struct progress *progress)
{
    struct winsize size;
    if (!progress->is_terminal)
        return PROGRESS_LINE_MAX - 1;
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1 ? size.ws_col - 1u
                                                                           : PROGRESS_COLUMNS - 1;
}

/* On a terminal by time, elsewhere PROGRESS_PLAIN_LINES times in all, so that a log file stays
 * short. */
void progress_show(struct progress *progress, const struct progress_news *news)
{
    char text[PROGRESS_LINE_MAX];
    const int64_t now = clock_monotonic_ms(), shown = progress->shown_epoch,
                  lines = news->epochs / PROGRESS_PLAIN_LINES, step = lines > 0 ? lines : 1;
    const int is_end = news->epoch == news->epochs && shown != news->epochs;
    const int is_due = progress->is_terminal ? now - progress->shown_ms >= PROGRESS_REFRESH_MS
                                             : shown < 0 || news->epoch - shown >= step;
    if (!is_due && !is_end)
        return;
    progress_text(news, text, progress_width(progress));
    fprintf(stderr, progress->is_terminal ? "\r\033[K%s" : "%s\n", text);
    progress->shown_ms = now;
    progress->shown_epoch = news->epoch;
}

void progress_clear(struct progress *progress)
{
    if (progress->is_terminal && progress->shown_epoch >= 0)
        fputs("\r\033[K", stderr);
}

void progress_end(struct progress *progress)
{
    if (progress->is_terminal && progress->shown_epoch >= 0)
        fputc('\n', stderr);
    progress->shown_epoch = -1;
}

/* negotiate: choice between two media types by the Accept header (RFC 9110, section 12.5.1).
 * Used by csv.c. Pure; any thread. */
#ifndef TOKENFATE_NEGOTIATE_H
#define TOKENFATE_NEGOTIATE_H

/* 1 if the header (NULL: none) prefers `type` to `usual`; both are like "text/csv". The larger
 * weight (q) wins, then the more exact range ("text/csv", then "text/" and a star, then the
 * range of all types), then the earlier one. On a tie, and when the header accepts neither,
 * `usual` wins. */
int negotiate_prefers(const char *header, const char *type, const char *usual);

#endif

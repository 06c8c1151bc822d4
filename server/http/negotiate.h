/* negotiate: which of two media types does an Accept header rather have (RFC 9110,
 * 12.5.1)? Pure; any thread. */
#ifndef TOKENFATE_NEGOTIATE_H
#define TOKENFATE_NEGOTIATE_H

/* 1 if the header (NULL: there is none) prefers type to usual, both like
 * "text/csv": by weight (q), then by how exactly a range names it, then by which
 * comes first. A tie, and a header that takes neither, leave it at usual. */
int negotiate_prefers(const char *header, const char *type, const char *usual);

#endif

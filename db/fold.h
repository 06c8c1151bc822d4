/* fold: the form in which texts are searched: what a person takes for the same text is the same
 * bytes. Private to the db room. SQL calls it as fold(text). */
#ifndef TOKENFATE_FOLD_H
#define TOKENFATE_FOLD_H

#include <sqlite3.h>

/* Give a handle the SQL function fold(text): case folded (ß is ss), without accents and other
 * marks, in compatibility decomposition (Unicode NFKD: a ligature is its letters), invisible
 * characters dropped, each run of white space one blank, none at the ends. NULL of NULL; an
 * error for a text that is not UTF-8. The stored forms are those of the library's Unicode
 * version. Returns SQLite's result code. */
int fold_register(sqlite3 *handle);

#endif

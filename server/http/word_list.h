/* word_list: comma-separated words, as in settings (allowed_hosts) and in a route's query
 * parameters. Pure; any thread. */
#ifndef TOKENFATE_WORD_LIST_H
#define TOKENFATE_WORD_LIST_H

/* 1 if name is a word of list; blanks around a word are ignored. */
int word_list_has(const char *list, const char *name);

#endif

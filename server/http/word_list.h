/* word_list: comma separated words, as settings and route tables have them. Pure. */
#ifndef TOKENFATE_WORD_LIST_H
#define TOKENFATE_WORD_LIST_H

/* 1 if name is one of the words of list; blanks around a word do not count. */
int word_list_has(const char *list, const char *name);

#endif

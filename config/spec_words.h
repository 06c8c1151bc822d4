/* spec_words: the JSON words of the enums of struct spec, and the names of the groups that
 * every job has. The index is the enum value; each list ends with NULL. Constants, any
 * thread. A leaf: the table of fields, the rules and the messages all quote these words. */
#ifndef TOKENFATE_SPEC_WORDS_H
#define TOKENFATE_SPEC_WORDS_H

extern const char *const spec_words_variant[];    /* enum spec_variant */
extern const char *const spec_words_tokenizer[];  /* no enum: struct spec keeps the word */
extern const char *const spec_words_vocabulary[]; /* enum spec_vocabulary */
extern const char *const spec_words_tying[];      /* enum spec_tying: weight tying */
extern const char *const spec_words_activation[]; /* enum spec_activation */
extern const char *const spec_words_head[];       /* enum spec_head */
extern const char *const spec_words_sampling[];   /* enum spec_sampling */
extern const char *const spec_words_optimizer[];  /* enum spec_optimizer */
extern const char *const spec_words_precision[];  /* enum spec_precision */
extern const char *const spec_words_selection[];  /* enum spec_selection */
extern const char *const spec_words_tie_break[];  /* enum spec_tie_break: order of equal counts */
extern const char *const spec_words_mask[];       /* enum spec_mask */
extern const char *const spec_words_group[];      /* groups of every job, in the records' order */

#endif

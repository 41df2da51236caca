/* "Did you mean": the known word a misspelt one was most likely meant to be. */
#ifndef S2SP_NEAREST_H
#define S2SP_NEAREST_H

#include "text.h"

/*
 * The word of the NULL-terminated list that is the same as `text` but for case, blanks, hyphens and underscores, or else the
 * first of those fewest edits away (insertion, deletion, replacement, swap of neighbours): at most two, and fewer in short
 * words. NULL when none is near. Points into `words`.
 */
const char *s2sp_nearest(struct s2sp_text text, const char *const *words);

#endif

/* Copies of stanzas and elements with something left out: what stays is shared with the original. */
#ifndef S2SP_PROSODY_ELEMENT_COPY_H
#define S2SP_PROSODY_ELEMENT_COPY_H

#include "keys.h"

/* A copy in the making: its children so far. Its table and its `tags` are at two stack indexes of their own. */
struct s2sp_copy {
	int at, tags;
	bool begun;
	lua_Integer children, elements;
};

/* Makes the copy, with the first `before` children of the element. May throw when memory runs out. */
void s2sp_copy_begin(lua_State *L, struct s2sp_copy *copy, int element, lua_Integer before);
/* Pops a child and appends it. May throw when memory runs out. */
void s2sp_copy_append(lua_State *L, struct s2sp_copy *copy);

#endif

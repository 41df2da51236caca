/* Tables of counts: name -> number of things counted, as large as there are things. */
#ifndef S2SP_PROSODY_COUNT_TABLE_H
#define S2SP_PROSODY_COUNT_TABLE_H

#include "values.h"

/* The count at table[key], 0 when there is none. */
uint32_t s2sp_lua_count_at(lua_State *L, int table, struct s2sp_text key);

/* A count that is there, so that it changes without any memory: its key is at a stack index. */
struct s2sp_reserved_count {
	int key;
	lua_Integer count;
};

/* Makes table[key] exist and pushes the key. May throw. */
struct s2sp_reserved_count s2sp_lua_reserve_count(lua_State *L, int table, struct s2sp_text key);

/* Cannot throw. An entry at zero is removed. */
void s2sp_lua_change_count(lua_State *L, int table, struct s2sp_reserved_count reserved, int change);

#endif

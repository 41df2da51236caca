/* Partner tables and policies as Lua values. */
#ifndef S2SP_PROSODY_POLICY_H
#define S2SP_PROSODY_POLICY_H

#include <lauxlib.h>
#include <lua.h>

#include "s2sp.h"

#define S2SP_LUA_TABLE "s2s_partners.table"
#define S2SP_LUA_POLICY "s2s_partners.policy"

/*
 * The policy at `index`, which lives as long as its userdata and keeps its partner table alive. `check` raises an error when
 * there is none there, `test` returns NULL.
 */
struct s2sp_policy *s2sp_lua_check_policy(lua_State *L, int index);
struct s2sp_policy *s2sp_lua_test_policy(lua_State *L, int index);
/* Raises an error when there is no partner table at `index`. */
struct s2sp_partner_table *s2sp_lua_check_table(lua_State *L, int index);

/*
 * Userdata without content, on top of the stack: the slot exists before there is anything to own. What is stored into it
 * is freed with it. A policy's user value 1 is its partner table.
 */
struct s2sp_partner_table **s2sp_lua_new_table(lua_State *L);
struct s2sp_policy **s2sp_lua_new_policy(lua_State *L);

/* compile_table(spec) and compile_policy(spec): see policy_compile.c. */
int s2sp_lua_compile_table(lua_State *L);
int s2sp_lua_compile_policy(lua_State *L);

/* Pushes a plain table with every effective setting of `partner`. */
void s2sp_lua_push_partner(lua_State *L, const struct s2sp_policy *policy, const struct s2sp_partner *partner,
						   enum s2sp_match match);

/* Pushes where `partner` was written: the option or file and, in a list, "[3]". */
void s2sp_lua_push_place(lua_State *L, const struct s2sp_partner *partner);

/* pinned_partners(policy) -> { { name, pins = { ... } }... } of those that have pins */
int s2sp_lua_pinned_partners(lua_State *L);

/* Pushes a table of functions for Lua: compile_table, compile_policy, canonical_domain, pinned_partners. */
int s2sp_lua_open_policy(lua_State *L);

#endif

/* A partner table while it is being made, and the thread that reads files for it. */
#ifndef S2SP_PROSODY_TABLE_DRAFT_H
#define S2SP_PROSODY_TABLE_DRAFT_H

#include <lauxlib.h>
#include <lua.h>

/*
 * Functions for Lua, all about a draft, which none but draft_done and drop_draft takes while its thread is at work:
 *   begin_table{ local_domains = { ... }, issues = { ... } } -> draft
 *   feed_issues(draft, issues)
 *   feed_list(draft, place, list)                   a list of partners, whatever it is
 *   feed_files(draft, lists, from, background)      lists[from] and those that follow it, as long as each is { place = ..., path = ... }: feeds
 *                                                   the files that are plain lists, and stops before the first that is not (partner_file.h)
 *   seal_table(draft, background)                   no more comes
 *   draft_done(draft) -> index | nil                nil while the thread is at work; else the place in `lists` where feed_files has stopped
 *   take_table(draft) -> table | nil, issues        as compile_table
 *   drop_draft(draft)                               nothing comes of it: as when it is let go, but now
 *   return_memory()                                 to the system, what a large table that has been let go has left behind
 * `background`: on a thread of its own, if the system has one more; otherwise it is done when the function returns. A draft that is let go stops its
 * thread and waits for that, for as long as the file that is being read takes, or the sealing.
 */
extern const luaL_Reg s2sp_lua_draft_functions[];

/* The class of drafts. May throw. */
void s2sp_lua_draft_class(lua_State *L);

#endif

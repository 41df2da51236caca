/* Files that have to be on the disk before something else happens. */
#ifndef S2SP_PROSODY_SYNC_FILE_H
#define S2SP_PROSODY_SYNC_FILE_H

#include <lua.h>

/*
 * sync_file(path) -> true when what was written to the file, or the names in the folder, is on the disk; nil and why not. Waits for the
 * disk: not for a running server.
 */
int s2sp_lua_sync_file(lua_State *L);

#endif

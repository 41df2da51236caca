/* Options of TCP sockets that Prosody gives its modules no other way to set once TLS has begun. */
#ifndef S2SP_PROSODY_NO_DELAY_H
#define S2SP_PROSODY_NO_DELAY_H

#include <lua.h>

/*
 * no_delay(fd) -> true, or nil and what the system says: what is written to the TCP socket goes out at once (TCP_NODELAY, RFC 1122 4.2.3.4),
 * instead of waiting for the acknowledgement of what went before. The descriptor stays the caller's.
 */
int s2sp_lua_no_delay(lua_State *L);

/*
 * quick_ack(fd) -> the same: what has come on the socket is acknowledged now, and what comes next at once (Linux: TCP_QUICKACK), until the system finds again that
 * acknowledgements can go out with answers. On other systems nothing happens.
 */
int s2sp_lua_quick_ack(lua_State *L);

#endif

/* The stream record as a Lua userdata, kept in the session it belongs to. */
#ifndef S2SP_PROSODY_STREAM_H
#define S2SP_PROSODY_STREAM_H

#include "values.h"

struct s2sp_lua_crls; /* crls.h */

/*
 * The record of the session at `index`, pushed as a userdata (nil and NULL when it has none). The pointer is good as long as
 * the userdata is reachable. The record keeps its policy, its local host and its remote domain alive by user values.
 */
struct s2sp_stream *s2sp_lua_stream_get(lua_State *L, int session);

/* The record at `index`, NULL when there is something else; and the name under which a session keeps it. */
struct s2sp_stream *s2sp_lua_stream_test(lua_State *L, int index);
#define S2SP_LUA_STREAM_FIELD "s2s_partners_stream"

/* Gives the session a record at stage OPEN if it has none; pushes and returns as get does. May throw when memory runs out. */
struct s2sp_stream *s2sp_lua_stream_need(lua_State *L, int session);

/*
 * Brings the record up to date with what the session and its connection say now: local host (and so the policy), TLS,
 * the remote domain, the certificate. REFUSE when that already refuses the stream. Leaves the stack as it was.
 */
struct s2sp_decision s2sp_lua_stream_refresh(lua_State *L, int session, int record, int guard);

/* A domain named by a handshake element on a stream that has none yet. As refresh. */
struct s2sp_decision s2sp_lua_stream_name(lua_State *L, int session, int record, int guard, struct s2sp_text domain);

/* The stream's canonical remote domain and its local host, empty when not known. Live as long as the record. */
struct s2sp_text s2sp_lua_stream_remote(lua_State *L, int record);
struct s2sp_text s2sp_lua_stream_local(lua_State *L, int record);
/* The same of a record that s2sp_lua_stream_get or _test has given. */
struct s2sp_text s2sp_stream_remote(const struct s2sp_stream *stream);
struct s2sp_text s2sp_stream_local(const struct s2sp_stream *stream);

/* Under which name the stream has its place (see stream_limits.h); empty when it never had one. */
struct s2sp_text s2sp_lua_stream_account(lua_State *L, int record);
void s2sp_lua_stream_set_account(lua_State *L, int record, struct s2sp_text account);

/*
 * The numbers of the stream's partner, where its stanzas are counted (counters.h): NULL until they are kept, which pops the value
 * that owns them, and after every change of the policy.
 */
struct s2sp_numbers;
struct s2sp_numbers *s2sp_stream_numbers(const struct s2sp_stream *stream);
void s2sp_lua_stream_keep_numbers(lua_State *L, int record, struct s2sp_numbers *numbers);

/*
 * A stanza on the stream for (or from) our host `host`, judged by that host's policy and, where it is not the stream's own, by
 * what that host makes of the certificate. The caller has checked that its domain is the stream's.
 */
struct s2sp_decision s2sp_lua_stream_stanza(lua_State *L, int session, int record, int guard, struct s2sp_text host);

/*
 * Revocation lists have been read anew: what other hosts of ours made of the certificate is forgotten. True when one of `crls` mentions a
 * certificate of the chain, so that the stream is to be judged again.
 */
bool s2sp_lua_stream_new_crls(lua_State *L, int record, const struct s2sp_lua_crls *crls);

/* Moves the record to the policy its local host has now and judges it again (s2sp_stream_rejudge). */
struct s2sp_decision s2sp_lua_stream_rejudge(lua_State *L, int session, int record, int guard);

/*
 * Pushes a copy of the record for a session, to be judged in its place with no effect on the stream: what it is and how it came about, without
 * certificates' reports and without numbers. May throw.
 */
struct s2sp_stream *s2sp_lua_stream_copy(lua_State *L, int record);

/* Whether core takes a domain other than `remote` for authenticated on this session. */
bool s2sp_lua_other_domain_authenticated(lua_State *L, int session, struct s2sp_text remote);

/* Pushes a function table: view(session). Registers the metatable. */
int s2sp_lua_open_stream(lua_State *L);

#endif

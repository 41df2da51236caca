/* What the userdata of a record holds: for the files of the record alone. */
#ifndef S2SP_PROSODY_RECORD_FIELDS_H
#define S2SP_PROSODY_RECORD_FIELDS_H

#include <stddef.h>

#include "record.h"

#define S2SP_LUA_RECORD_METATABLE "s2s_partners.stream"

/* Its user values. VERDICTS: what other hosts of ours make of the certificate, host -> verdict; forgotten with the policy. */
enum s2sp_record_value {
	S2SP_RECORD_POLICY = 1,
	S2SP_RECORD_REMOTE,
	S2SP_RECORD_LOCAL,
	S2SP_RECORD_REPORT,
	S2SP_RECORD_ACCOUNT,
	S2SP_RECORD_VERDICTS,
	S2SP_RECORD_PROTOCOL,
	S2SP_RECORD_NUMBERS,
	S2SP_RECORD_VALUES = S2SP_RECORD_NUMBERS
};

struct s2sp_record {
	struct s2sp_stream stream;
	struct s2sp_text remote, local; /* what REMOTE and LOCAL keep alive, once they are known */
	struct s2sp_numbers *numbers;   /* NUMBERS */
	const void *mark;               /* last: see s2sp_lua_marked */
};

/* Everybody else holds the stream, at the address of the userdata: that of the record. */
_Static_assert(offsetof(struct s2sp_record, stream) == 0, "a record begins with its stream");
_Static_assert(offsetof(struct s2sp_record, mark) + sizeof(const void *) == sizeof(struct s2sp_record), "the mark is last");

/*
 * Whether the connection itself reports a TLS session; its protocol stays with the record. session.secure is not asked: a second
 * stream header in clear after <starttls/> makes core set it (0.12.3 and 13.0.1).
 */
bool s2sp_lua_connection_tls(lua_State *L, int session, int record, int guard);

static inline struct s2sp_record *s2sp_record_of(struct s2sp_stream *stream) {
	return (struct s2sp_record *)(void *)stream;
}

static inline const struct s2sp_record *s2sp_record_of_const(const struct s2sp_stream *stream) {
	return (const struct s2sp_record *)(const void *)stream;
}

#endif

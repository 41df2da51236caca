/*
 * How many streams there may be and how long they may take: counts and times in, a decision out. Who counts, and who reads
 * the clock, is somebody else. Nothing here allocates.
 */
#ifndef S2SP_STREAM_LIMITS_H
#define S2SP_STREAM_LIMITS_H

#include "stream.h"

/* Milliseconds of a clock that never goes back. */
typedef uint64_t s2sp_milliseconds;

/*
 * Whether a stream takes one of its partner's places. Anybody can write a partner's name into a stream header: an incoming
 * stream takes a place only when its certificate or its authentication proves the name, or strangers could take them all.
 * One that only verifies a dialback key takes none, so it must have asked to be authenticated first, or be of a partner
 * for whom no keys are verified. Of several answers the later one is the stronger.
 */
enum s2sp_place {
	S2SP_PLACE_NONE = 0, /* takes none and is not in the way */
	S2SP_PLACE_ASKS,     /* will take one once proven: refused now where there is none */
	S2SP_PLACE_TAKES,
};
enum s2sp_place s2sp_stream_place(const struct s2sp_stream *stream);

/* Streams that have a place, the one to be judged not among them. */
struct s2sp_counts {
	uint32_t partner; /* of this partner, all its domains, both directions */
	uint32_t total;   /* of all partners */
};

/* Of all places, one in so many is for listed partners only (rounded down). */
#define S2SP_RESERVED_SHARE 4

/* Whether a stream with `partner` can have a place. `partner` is of `policy`. */
struct s2sp_decision s2sp_decide_place(const struct s2sp_policy *policy, const struct s2sp_partner *partner,
									   struct s2sp_counts counts);

/*
 * Whether so many streams, the judged ones among them, can all keep their places, with any partners: `counts.partner` is the largest
 * number that any partner has. False says that they have to be asked about one by one.
 */
bool s2sp_limits_suffice(const struct s2sp_policy *policy, struct s2sp_counts counts);

/* How many incoming connections may be unauthenticated at a time. */
struct s2sp_waiting_room {
	uint32_t total;
	uint32_t address; /* from one IPv4 address or IPv6 /64 */
};
/*
 * Follows from `connections` (as many as there may be streams, a tenth of them from one address), with a floor that lets a
 * small server's partners come at once: S2SP_WAITING_MIN and S2SP_WAITING_ADDRESS_MIN.
 */
#define S2SP_WAITING_MIN 100
#define S2SP_WAITING_ADDRESS_MIN 32
struct s2sp_waiting_room s2sp_limits_waiting_room(const struct s2sp_limits *limits);

/* Before any policy says. */
#define S2SP_WAITING_DEFAULT 1000
#define S2SP_WAITING_ADDRESS_DEFAULT 100

/* Who has to make room for the connection that has come last, its own address before everybody: the oldest goes. */
enum s2sp_crowded { S2SP_CROWDED_NOT = 0, S2SP_CROWDED_ADDRESS, S2SP_CROWDED_EVERYBODY };
/* `waiting`: how many connections wait, the last among them, in all and from its address. */
enum s2sp_crowded s2sp_waiting_crowded(struct s2sp_waiting_room room, struct s2sp_waiting_room waiting);

/*
 * Whether a connection that has no stream yet has had all the time there is (a TLS handshake comes first on a port for direct TLS). `limits`: those
 * with the least establishment_timeout, or NULL when there are none: S2SP_WAITING_SECONDS.
 */
#define S2SP_WAITING_SECONDS 60
bool s2sp_waiting_due(const struct s2sp_limits *limits, s2sp_milliseconds waited);

/*
 * Keys that peers have sent and that a partner has been asked about, but has not answered yet. Anybody can send one: they wait in the queue
 * of a stream that does not come about, or in the buffer of one whose other side does not read, with what the partner's users are sent.
 */
struct s2sp_questions {
	uint32_t route;   /* from one domain of ours to one of theirs */
	uint32_t partner; /* from one domain of ours to all of the partner's, those of a default policy together */
};
#define S2SP_QUESTIONS_ROUTE_MAX 32
#define S2SP_QUESTIONS_PARTNER_MAX 256
/* Whether one more may be asked. REFUSE connection-limit is for the element: the stream it came over goes on. */
struct s2sp_decision s2sp_decide_question(struct s2sp_questions questions);

/*
 * One more stanza is to wait for an outgoing stream to be established. REFUSE connection-limit is for the stanza: the stream goes on. The function that
 * empties the queue sets `queued` to 0. A host may have a queue that is shorter still.
 */
#define S2SP_QUEUE_MAX 32000
struct s2sp_decision s2sp_stream_queue(struct s2sp_stream *stream);

/* The record's times begin. `now` is when the connection was accepted, or the stream created. */
void s2sp_stream_clock_start(struct s2sp_stream *stream, s2sp_milliseconds now);
/* A stanza that is no keepalive has gone either way, or the stream has just been established. */
void s2sp_stream_active(struct s2sp_stream *stream, s2sp_milliseconds now);
/* A keepalive has been sent; `answer`: the peer has to answer it. */
void s2sp_stream_keepalive_sent(struct s2sp_stream *stream, s2sp_milliseconds now, bool answer);
/* The peer has answered. */
void s2sp_stream_keepalive_answered(struct s2sp_stream *stream);

/*
 * What time demands of a stream: REFUSE with a reason of time; ALLOW otherwise, and *keepalive when one is due. `limits` are
 * the policy's of the stream's host, or any for a stream that has not named one. An answer to a keepalive may take as long
 * as establishing a stream (the peer may have to open one for it), but not until the next is due.
 */
struct s2sp_decision s2sp_stream_due(const struct s2sp_stream *stream, const struct s2sp_limits *limits, s2sp_milliseconds now,
									 bool *keepalive);

#endif

/*
 * What follows from a refusal for the one whose stanza or element it was, beside the refusal itself: what the sender hears, and what
 * the host is to forget. Nothing here allocates.
 */
#ifndef S2SP_REFUSAL_H
#define S2SP_REFUSAL_H

#include "authorisation.h"

/*
 * What the sender of a stanza hears that is refused before anybody has asked s2sp_authorise: the domain is not listed, its stream is not in
 * order, there is no place. As for the partner type that is owed the least. ERROR_IF_DIRECTED only of what goes out.
 */
enum s2sp_reply s2sp_reply_to(enum s2sp_direction direction, enum s2sp_stanza_kind kind);

/*
 * The same of an incoming stanza that no standard knows or RFC 6120 8.2.3 does not allow. What a host answers by itself may
 * depend on whether there is such a user; this does not. NONE or ERROR.
 */
enum s2sp_reply s2sp_reply_to_malformed(struct s2sp_text name, struct s2sp_text type, bool has_id);

/* What s2sp_refused_route has to know first. */
enum s2sp_refused_need { S2SP_REFUSED_NEED_NOTHING = 0, S2SP_REFUSED_NEED_NOTED, S2SP_REFUSED_NEED_PASSED };

/* A stanza that may not go out. */
struct s2sp_refused_stanza {
	/* JOIN for any available presence with the element of XEP-0045 7.2, whatever the partner's group_chat is */
	enum s2sp_stanza_kind kind;
	enum s2sp_reason reason;
	/* Looked up when asked for; of available presence only. */
	enum s2sp_answered noted;  /* the host has noted that the session has sent presence to just this address (RFC 6121 4.6) */
	enum s2sp_answered passed; /* such presence of the session's has gone to the contact and has not been taken back */
};

struct s2sp_refused_route {
	enum s2sp_refused_need need; /* unless NOTHING: look it up and ask again */
	enum s2sp_reply reply;       /* NONE or ERROR: the stanza error of the reason's row */
	/* The host is to strike out its note: the contact has not seen the user come and must not see the user go. */
	bool forget;
};

struct s2sp_refused_route s2sp_refused_route(const struct s2sp_refused_stanza *stanza);

/* A stanza error's type and condition (RFC 6120 8.3.2, 8.3.3). Static. */
struct s2sp_stanza_error {
	const char *type, *condition;
};

/* Of the dialback error (XEP-0220 2.4) for an element that is refused while its stream goes on. */
struct s2sp_stanza_error s2sp_dialback_error(enum s2sp_reason reason);

/*
 * A stanza whose own addresses are not those that it is routed by: the host answers over the stream a request came in on. Its own
 * addresses, after the host's preparation of names: `known`: both are names at all; `from_ours`, `to_ours`: a local domain; `same`: they are what
 * it is routed by, after all. ALLOW: it has to take its own way, by those; else it goes nowhere.
 */
struct s2sp_own_addresses {
	bool known, from_ours, to_ours, same;
};
struct s2sp_decision s2sp_decide_own_way(struct s2sp_own_addresses addresses);

#endif

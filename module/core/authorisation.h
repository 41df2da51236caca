/*
 * Partner types: who may say what (docs/partner-types.md) as one ordered table over plain facts. The first rule that
 * applies decides. A fact that nobody has looked up yet is asked for only when a rule needs it, so that the holder of the facts
 * (rosters, accounts) pays for no more than the decision takes. Nothing here allocates.
 */
#ifndef S2SP_AUTHORISATION_H
#define S2SP_AUTHORISATION_H

#include <stdbool.h>
#include <stddef.h>

#include "partner.h"
#include "reason.h"
#include "stream.h"
#include "text.h"

/* What a stanza is, as far as the rules tell stanzas apart (RFC 6120 8.2, RFC 6121 4.7.1 and 5.2.2). */
enum s2sp_stanza_kind {
	S2SP_STANZA_UNKNOWN = 0, /* no rule lets it pass */
	S2SP_STANZA_MESSAGE,     /* chat, normal, headline, and types nobody knows */
	S2SP_STANZA_GROUPCHAT,
	S2SP_STANZA_MESSAGE_ERROR,
	S2SP_STANZA_PRESENCE, /* available */
	S2SP_STANZA_JOIN,     /* available, with the element of XEP-0045 7.2 */
	S2SP_STANZA_UNAVAILABLE,
	S2SP_STANZA_PRESENCE_ERROR,
	S2SP_STANZA_PROBE,
	S2SP_STANZA_SUBSCRIBE,
	S2SP_STANZA_SUBSCRIBED,
	S2SP_STANZA_UNSUBSCRIBE,
	S2SP_STANZA_UNSUBSCRIBED,
	S2SP_STANZA_IQ_GET,
	S2SP_STANZA_IQ_SET,
	S2SP_STANZA_IQ_RESULT,
	S2SP_STANZA_IQ_ERROR,
	S2SP_STANZA_SERVICE, /* get of disco#info, disco#items, ping, version or time to a bare domain */
	S2SP_STANZA_COUNT
};

/* Whose the address on our side is. */
enum s2sp_local_kind {
	S2SP_LOCAL_UNKNOWN = 0,
	S2SP_LOCAL_USER,      /* a user's bare or full JID on a host with accounts */
	S2SP_LOCAL_HOST,      /* that host itself */
	S2SP_LOCAL_COMPONENT, /* a host without rosters itself (MUC, components) */
	S2SP_LOCAL_ROOM,      /* any other address there */
	S2SP_LOCAL_COUNT
};

/* Access of local users to other servers by configuration, and roles where the host has any. Of USER only. */
enum s2sp_access { S2SP_ACCESS_UNKNOWN = 0, S2SP_ACCESS_DENIED, S2SP_ACCESS_ALLOWED, S2SP_ACCESS_COUNT };
/* Whether the account exists. Of USER, incoming, only. */
enum s2sp_account { S2SP_ACCOUNT_UNKNOWN = 0, S2SP_ACCOUNT_MISSING, S2SP_ACCOUNT_EXISTS, S2SP_ACCOUNT_COUNT };
/* Whether the user's roster has an item for the contact's bare JID. */
enum s2sp_listing { S2SP_LISTING_UNKNOWN = 0, S2SP_LISTING_UNAVAILABLE, S2SP_LISTING_NO, S2SP_LISTING_YES, S2SP_LISTING_COUNT };
/* Facts that are or are not: directed presence of the user's to the contact, an answer to a service request of ours. */
enum s2sp_answered { S2SP_FACT_UNKNOWN = 0, S2SP_FACT_NO, S2SP_FACT_YES, S2SP_FACT_COUNT };
/* What the user has decided about the contact's subscription to the user's presence, before this request of the contact. */
enum s2sp_standing {
	S2SP_STANDING_UNKNOWN = 0,
	S2SP_STANDING_UNAVAILABLE, /* roster, block list or cancellations cannot be read */
	S2SP_STANDING_BLOCKED,     /* XEP-0191 */
	S2SP_STANDING_CANCELLED,
	S2SP_STANDING_NONE,
	S2SP_STANDING_AUTHORISED, /* subscription "from" or "both" */
	S2SP_STANDING_COUNT
};
/* How many contacts of the partner the user has: MANY from S2SP_CONTACTS_MAX on: nobody is authorised automatically any more. */
enum s2sp_contacts { S2SP_CONTACTS_UNKNOWN = 0, S2SP_CONTACTS_FEW, S2SP_CONTACTS_MANY, S2SP_CONTACTS_COUNT };
#define S2SP_CONTACTS_MAX 500
/* Whether there is room for one more of the partner's requests to wait for the user: up to S2SP_WAITING_REQUESTS_MAX of them. */
#define S2SP_WAITING_REQUESTS_MAX 200
enum s2sp_waiting { S2SP_WAITING_UNKNOWN = 0, S2SP_WAITING_ROOM, S2SP_WAITING_FULL, S2SP_WAITING_COUNT };

struct s2sp_stanza_facts {
	/* Always known. */
	enum s2sp_partner_type partner_type;
	enum s2sp_direction direction;
	enum s2sp_stanza_kind kind;
	enum s2sp_local_kind local;
	bool group_chat;         /* group_chat = "allow" */
	bool presence_automatic; /* presence_authorization = "automatic" */
	bool personal_events;    /* personal_events = "allow" */
	/* The contact's address can be written in several ways, and the host's own block list compares one: BLOCKED has to be asked. */
	bool spellings;
	/* Looked up when asked for. */
	enum s2sp_access access;
	enum s2sp_account account;
	enum s2sp_listing listing;
	enum s2sp_answered directed;
	enum s2sp_answered requested;
	enum s2sp_standing standing;
	enum s2sp_answered blocked; /* the user has blocked the contact, however that is written */
	enum s2sp_contacts contacts;
	enum s2sp_waiting waiting;
};

/* The fact a decision is waiting for. */
enum s2sp_need {
	S2SP_NEED_NOTHING = 0,
	S2SP_NEED_ACCESS,
	S2SP_NEED_ACCOUNT,
	S2SP_NEED_LISTING,
	S2SP_NEED_DIRECTED,
	S2SP_NEED_REQUESTED,
	S2SP_NEED_STANDING,
	S2SP_NEED_BLOCKED,
	S2SP_NEED_CONTACTS,
	S2SP_NEED_WAITING,
	S2SP_NEED_COUNT
};

/* What the sender of a refused stanza gets. */
enum s2sp_reply {
	S2SP_REPLY_NONE = 0,
	/* Incoming: service-unavailable, whatever the reason. Outgoing: the stanza error of the reason's row. */
	S2SP_REPLY_ERROR,
	/* Outgoing available presence: the same, if it was directed; a broadcast is dropped. See s2sp_refused_route. */
	S2SP_REPLY_ERROR_IF_DIRECTED,
	/* Incoming subscribe: what the host itself says for a user whose answer is outstanding. */
	S2SP_REPLY_UNAVAILABLE,
};

struct s2sp_authorisation {
	enum s2sp_verdict verdict; /* WAIT: look up `need` and ask again */
	enum s2sp_need need;
	enum s2sp_reason reason; /* NONE with ALLOW and WAIT */
	/* with ALLOW: STATUS_NOTE_REMOVED (take notes out), SUBSCRIPTION_AUTHORISED (answer for the user), or NONE */
	enum s2sp_reason change;
	enum s2sp_reply reply;
	/* With ALLOW: personal events may be in it. Otherwise they are taken out; a stanza that is nothing else is not sent. */
	bool personal_events;
	const char *rule; /* what decided, in words for the operator; static */
};

/*
 * The decision on one stanza between a local address and a partner's, on a stream (or route) that is in order. Facts that do not
 * apply (the account of a room) are never asked for. Facts out of range refuse with internal-error.
 */
struct s2sp_authorisation s2sp_authorise(const struct s2sp_stanza_facts *facts);

/* Tokens: "message", "iq-get", ...; "user", ...; "denied", "missing", "listed", "yes", "blocked", "access", ...; "unknown". Static. */
const char *s2sp_stanza_kind_token(enum s2sp_stanza_kind kind);
const char *s2sp_local_kind_token(enum s2sp_local_kind local);
const char *s2sp_need_token(enum s2sp_need need);
/* The value of the fact `need` that is so spelled, 0 (unknown) when there is none. For the facts that are looked up. */
int s2sp_fact_from_token(enum s2sp_need need, struct s2sp_text token);
/* Sets that fact. A value out of range is left out. */
void s2sp_fact_set(struct s2sp_stanza_facts *facts, enum s2sp_need need, int value);
enum s2sp_stanza_kind s2sp_stanza_kind_from_token(struct s2sp_text token);
enum s2sp_local_kind s2sp_local_kind_from_token(struct s2sp_text token);

/*
 * The kind of a stanza by its name and type (empty: none). JOIN and SERVICE are for the caller to find out, who has the payload.
 * UNKNOWN for anything but message, presence and iq, and for types of presence and iq that no standard knows.
 */
enum s2sp_stanza_kind s2sp_stanza_kind_of(struct s2sp_text name, struct s2sp_text type);

/*
 * Whether what a user publishes at that node (XEP-0163) is a personal event: mood (XEP-0107), activity (0108), tune (0118), location
 * (0080), and whatever else nobody knows better. Not avatars (0084, 0153), nicknames (0172) and profiles (0292), which say who a user is
 * and not how; nor keys for encryption (OMEMO, 0384; OpenPGP, 0373), without which no message could be read. An empty node is one.
 */
bool s2sp_is_personal_event(struct s2sp_text node);

/* Whether a payload element so named in that namespace is one of the services any partner may ask a bare domain for. */
bool s2sp_is_service(struct s2sp_text xmlns, struct s2sp_text name);

#endif

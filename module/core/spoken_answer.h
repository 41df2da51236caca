/*
 * Answers that a host gives in the name of a user, to requests for the user's bare address. A contact who may not see the user's
 * presence must get what a user gives who does not exist: service-unavailable (RFC 6121 8.5.1, 8.5.2.2.3). An answer that has
 * something of the user's own in it was allowed by its author, and stays.
 */
#ifndef S2SP_SPOKEN_ANSWER_H
#define S2SP_SPOKEN_ANSWER_H

#include "authorisation.h"

/* What of an answer's payload is the user's own. */
enum s2sp_own_words {
	S2SP_OWN_WORDS_NONE = 0,  /* nothing, whatever it holds: errors, the time */
	S2SP_OWN_WORDS_PUBLISHED, /* what the user has published, and subscriptions to that: see s2sp_is_published */
	S2SP_OWN_WORDS_ANY,       /* any text inside, and any attribute of an element inside but s2sp_is_echo */
};

/* Deeper than this, whatever is there counts as the user's own. */
#define S2SP_SPOKEN_DEPTH_MAX 64

/* By the kind of the answer and the name and namespace of its first element; both empty when it has none. */
enum s2sp_own_words s2sp_own_words(enum s2sp_stanza_kind kind, struct s2sp_text xmlns, struct s2sp_text name);

/* Of PUBLISHED: whether a child of the payload so named is something published (XEP-0060, XEP-0163). */
bool s2sp_is_published(struct s2sp_text name, bool has_children);

/* Of ANY: whether an attribute only repeats the question. */
bool s2sp_is_echo(struct s2sp_text attribute);

/*
 * Whether service-unavailable takes the answer's place. `says_something`: there is anything of the user's own in it. `sees`: the contact may
 * see the user's presence; asked for when it matters, which is NOT_KNOWN. Unknown when it cannot be found out counts as NO.
 */
enum s2sp_replaced { S2SP_REPLACED_YES = 0, S2SP_REPLACED_NO, S2SP_REPLACED_NOT_KNOWN };
enum s2sp_replaced s2sp_answer_is_replaced(bool says_something, enum s2sp_answered sees);

#endif

/*
 * Who may say what: one stanza's facts, packed into a small integer, so that a decision on it costs no memory. Erlang looks facts up as
 * the rules ask for them.
 */
#include "nif.h"
#include "nif_functions.h"

/* Where each fact stands in the integer, and how many bits it has. The emulator's small integers have 59. */
enum { KIND_AT = 1, KIND_BITS = 5, LOCAL_AT = 6, LOCAL_BITS = 3, SPELLINGS_AT = 9, FACTS_AT = 10, FACT_BITS = 3 };
_Static_assert(S2SP_STANZA_COUNT <= 1 << KIND_BITS, "kinds of stanzas have their bits");
_Static_assert(S2SP_LOCAL_COUNT <= 1 << LOCAL_BITS, "local kinds have their bits");
_Static_assert(S2SP_STANDING_COUNT <= 1 << FACT_BITS && S2SP_LISTING_COUNT <= 1 << FACT_BITS, "facts have their bits");
_Static_assert(FACTS_AT + FACT_BITS * (S2SP_NEED_COUNT - 1) < 59, "all of it is a small integer");

static unsigned part(ErlNifUInt64 question, unsigned at, unsigned bits) {
	return (unsigned)(question >> at & ((1u << bits) - 1));
}

static unsigned fact_at(enum s2sp_need need) {
	return FACTS_AT + FACT_BITS * ((unsigned)need - 1);
}

NIF(s2sp_nif_question) {
	bool spellings;
	(void)argc;
	size_t kind = s2sp_nif_position(argv[1], s2sp_atoms.kinds, COUNT(s2sp_atoms.kinds));
	size_t local = s2sp_nif_position(argv[2], s2sp_atoms.local_kinds, COUNT(s2sp_atoms.local_kinds));
	bool outgoing = argv[0] == s2sp_atoms.outgoing;
	if ((!outgoing && argv[0] != s2sp_atoms.incoming) || kind == COUNT(s2sp_atoms.kinds) ||
		local == COUNT(s2sp_atoms.local_kinds) || !s2sp_nif_boolean(argv[3], &spellings))
		return enif_make_badarg(env);
	return enif_make_uint64(env, (ErlNifUInt64)outgoing | (ErlNifUInt64)kind << KIND_AT | (ErlNifUInt64)local << LOCAL_AT |
									 (ErlNifUInt64)(spellings && local == S2SP_LOCAL_USER) << SPELLINGS_AT);
}

NIF(s2sp_nif_fact) {
	ErlNifUInt64 question;
	(void)argc;
	size_t need = s2sp_nif_position(argv[1], s2sp_atoms.needs, COUNT(s2sp_atoms.needs));
	if (!enif_get_uint64(env, argv[0], &question) || need == S2SP_NEED_NOTHING || need == COUNT(s2sp_atoms.needs))
		return enif_make_badarg(env);
	int value = s2sp_nif_fact_value((enum s2sp_need)need, argv[2]);
	if (value == 0)
		return enif_make_badarg(env);
	unsigned at = fact_at((enum s2sp_need)need);
	question &= ~((ErlNifUInt64)((1u << FACT_BITS) - 1) << at);
	return enif_make_uint64(env, question | (ErlNifUInt64)(unsigned)value << at);
}

static struct s2sp_stanza_facts unpack(ErlNifUInt64 question, const struct s2sp_partner *partner) {
	struct s2sp_stanza_facts facts = {
		.partner_type = (enum s2sp_partner_type)partner->type,
		.direction = part(question, 0, 1) ? S2SP_OUTGOING : S2SP_INCOMING,
		.kind = (enum s2sp_stanza_kind)part(question, KIND_AT, KIND_BITS),
		.local = (enum s2sp_local_kind)part(question, LOCAL_AT, LOCAL_BITS),
		.group_chat = partner->group_chat,
		.presence_automatic = partner->presence_automatic,
		.personal_events = partner->personal_events,
		.spellings = part(question, SPELLINGS_AT, 1) != 0,
	};
	for (unsigned need = S2SP_NEED_NOTHING + 1; need < S2SP_NEED_COUNT; need++)
		s2sp_fact_set(&facts, (enum s2sp_need)need, (int)part(question, fact_at((enum s2sp_need)need), FACT_BITS));
	return facts;
}

/* Core's answer; access by configuration is looked up here, since the policy has it. */
static struct s2sp_authorisation decide(const struct s2sp_policy *policy, const struct s2sp_partner *partner,
										struct s2sp_text user, struct s2sp_stanza_facts *facts) {
	struct s2sp_authorisation decision = s2sp_authorise(facts);
	if (decision.verdict == S2SP_VERDICT_WAIT && decision.need == S2SP_NEED_ACCESS) {
		bool allowed = user.length > 0 && s2sp_policy_external_access(policy, partner, user);
		facts->access = allowed ? S2SP_ACCESS_ALLOWED : S2SP_ACCESS_DENIED;
		decision = s2sp_authorise(facts);
	}
	return decision;
}

static ERL_NIF_TERM refusal(ErlNifEnv *env, enum s2sp_reason reason, const char *rule, enum s2sp_reply reply) {
	return enif_make_tuple4(env, s2sp_atoms.refuse, s2sp_atoms.reasons[reason], s2sp_nif_make_words(env, rule),
							s2sp_atoms.replies[reply]);
}

static ERL_NIF_TERM make_authorisation(ErlNifEnv *env, struct s2sp_authorisation decision) {
	switch (decision.verdict) {
	case S2SP_VERDICT_ALLOW:
		if (decision.change == S2SP_REASON_NONE)
			return decision.personal_events ? s2sp_atoms.allow : s2sp_atoms.allow_without_events;
		return enif_make_tuple3(env, s2sp_atoms.allow, s2sp_atoms.reasons[decision.change],
								s2sp_nif_make_boolean(decision.personal_events));
	case S2SP_VERDICT_WAIT: return s2sp_atoms.needs[decision.need];
	case S2SP_VERDICT_REFUSE: break;
	}
	return refusal(env, decision.reason, decision.rule, decision.reply);
}

static const struct s2sp_partner *find(const struct s2sp_policy *policy, struct s2sp_text name) {
	struct s2sp_domain domain;
	if (!s2sp_nif_parse(name, &domain))
		return NULL;
	return s2sp_policy_find(policy, s2sp_domain_text(&domain), NULL);
}

NIF(s2sp_nif_authorise) {
	const struct s2sp_policy *policy;
	struct s2sp_text name, user;
	ErlNifUInt64 question;
	(void)argc;
	if (!s2sp_nif_get_policy(env, argv[0], &policy) || !s2sp_nif_text(env, argv[1], &name) ||
		!s2sp_nif_text(env, argv[2], &user) || !enif_get_uint64(env, argv[3], &question))
		return enif_make_badarg(env);
	enum s2sp_reply reply = s2sp_reply_to(part(question, 0, 1) ? S2SP_OUTGOING : S2SP_INCOMING,
										  (enum s2sp_stanza_kind)part(question, KIND_AT, KIND_BITS));
	if (policy == NULL)
		return refusal(env, S2SP_REASON_CONFIG_INVALID, "no valid partner configuration is running for this host", reply);
	const struct s2sp_partner *partner = find(policy, name);
	if (partner == NULL)
		return refusal(env, S2SP_REASON_UNLISTED_DOMAIN, s2sp_policy_unlisted_rule(policy), reply);
	struct s2sp_stanza_facts facts = unpack(question, partner);
	return make_authorisation(env, decide(policy, partner, user, &facts));
}

/* A short atom as text, in `room`. */
static bool word_of(ErlNifEnv *env, ERL_NIF_TERM term, char room[32], struct s2sp_text *text) {
	if (s2sp_nif_text(env, term, text))
		return true;
	int length = enif_get_atom(env, term, room, 32, ERL_NIF_LATIN1);
	*text = (struct s2sp_text){ room, length > 0 ? (size_t)length - 1 : 0 };
	return enif_is_atom(env, term) != 0;
}

NIF(s2sp_nif_stanza_kind) {
	char name_room[32], type_room[32];
	struct s2sp_text name, type;
	(void)argc;
	if (!word_of(env, argv[0], name_room, &name) || !word_of(env, argv[1], type_room, &type))
		return enif_make_badarg(env);
	/* ejabberd's words for no type. */
	if (argv[1] == s2sp_atoms.undefined || argv[1] == s2sp_atoms.available || argv[1] == s2sp_atoms.normal)
		type.length = 0;
	return s2sp_atoms.kinds[s2sp_stanza_kind_of(name, type)];
}

/* What a message or available presence of no special kind is by its type alone; UNKNOWN: it is of another kind. */
static enum s2sp_stanza_kind plain_kind(ERL_NIF_TERM type) {
	if (type == s2sp_atoms.chat || type == s2sp_atoms.normal || type == s2sp_atoms.headline)
		return S2SP_STANZA_MESSAGE;
	if (type == s2sp_atoms.available)
		return S2SP_STANZA_PRESENCE;
	return type == s2sp_atoms.groupchat ? S2SP_STANZA_GROUPCHAT : S2SP_STANZA_UNKNOWN;
}

/* The answer to a stanza of a user's that is decided by what is known already; `ask` when it is not that simple. */
static ERL_NIF_TERM simply(const struct s2sp_policy *policy, const struct s2sp_partner *partner, enum s2sp_direction direction,
						   enum s2sp_stanza_kind kind, struct s2sp_text domain, struct s2sp_text user) {
	if (kind == S2SP_STANZA_UNKNOWN || user.length == 0)
		return s2sp_atoms.ask;
	const struct s2sp_stanza_facts facts = {
		.partner_type = (enum s2sp_partner_type)partner->type,
		.direction = direction,
		.kind = kind,
		.local = S2SP_LOCAL_USER,
		.group_chat = partner->group_chat,
		.presence_automatic = partner->presence_automatic,
		.personal_events = partner->personal_events,
		.spellings = s2sp_domain_has_spellings(domain),
		.account = S2SP_ACCOUNT_EXISTS,
		.access = s2sp_policy_external_access(policy, partner, user) ? S2SP_ACCESS_ALLOWED : S2SP_ACCESS_DENIED,
	};
	const struct s2sp_authorisation decision = s2sp_authorise(&facts);
	if (decision.verdict != S2SP_VERDICT_ALLOW || !decision.personal_events)
		return s2sp_atoms.ask;
	return decision.change == S2SP_REASON_NONE ? s2sp_atoms.allow : s2sp_atoms.reasons[decision.change];
}

/*
 * passes(Policy, Domain, User, Type): outgoing, of a local user who is there. Nearly every stanza is decided here, so it is one call, and the
 * answer an atom.
 */
NIF(s2sp_nif_passes) {
	const struct s2sp_policy *policy;
	struct s2sp_text name, user;
	(void)argc;
	if (!s2sp_nif_get_policy(env, argv[0], &policy) || !s2sp_nif_text(env, argv[1], &name) || !s2sp_nif_text(env, argv[2], &user))
		return enif_make_badarg(env);
	const struct s2sp_partner *partner = policy == NULL ? NULL : find(policy, name);
	return partner == NULL ? s2sp_atoms.ask : simply(policy, partner, S2SP_OUTGOING, plain_kind(argv[3]), name, user);
}

/* stream_passes(Stream, Policy, Domain, User, Type): incoming, for such a user, over a stream that stands under the same policy. */
NIF(s2sp_nif_stream_passes) {
	struct s2sp_nif_stream *stream = s2sp_nif_get_stream(env, argv[0]);
	const struct s2sp_policy *policy;
	struct s2sp_text name, user;
	(void)argc;
	if (stream == NULL || !s2sp_nif_get_policy(env, argv[1], &policy) || !s2sp_nif_text(env, argv[2], &name) ||
		!s2sp_nif_text(env, argv[3], &user))
		return enif_make_badarg(env);
	const struct s2sp_stream *record = &stream->record;
	struct s2sp_text own = s2sp_domain_text(&stream->domain);
	if (policy == NULL || policy != record->policy || record->partner == NULL || own.length == 0 || !s2sp_text_equal(name, own) ||
		s2sp_stream_stanza(record, policy, own).verdict != S2SP_VERDICT_ALLOW)
		return s2sp_atoms.ask;
	return simply(policy, record->partner, S2SP_INCOMING, plain_kind(argv[4]), name, user);
}

NIF(s2sp_nif_is_service) {
	struct s2sp_text xmlns, name;
	(void)argc;
	if (!s2sp_nif_text(env, argv[0], &xmlns) || !s2sp_nif_text(env, argv[1], &name))
		return enif_make_badarg(env);
	return s2sp_nif_make_boolean(s2sp_is_service(xmlns, name));
}

NIF(s2sp_nif_is_personal_event) {
	struct s2sp_text node;
	(void)argc;
	if (!s2sp_nif_text(env, argv[0], &node))
		return enif_make_badarg(env);
	return s2sp_nif_make_boolean(s2sp_is_personal_event(node));
}

/* The facts of one stanza, and the loop that looks them up as the rules ask. */
#include "question.h"

#include <time.h>

/* No '@' and no '/'. */
static bool is_bare_domain(struct s2sp_text jid) {
	return jid.length > 0 && memchr(jid.bytes, '/', jid.length) == NULL && memchr(jid.bytes, '@', jid.length) == NULL;
}

/* type='' is not the absence of a type. */
enum s2sp_stanza_kind s2sp_lua_stanza_kind(struct s2sp_text name, struct s2sp_text type) {
	if (type.bytes != NULL && type.length == 0 && !s2sp_text_equal(name, S2SP_TEXT("message")))
		return S2SP_STANZA_UNKNOWN;
	return s2sp_stanza_kind_of(name, type);
}

/* Whether the stanza has exactly one payload element, a service; or (`muc`) any that joins a room. */
static bool has_payload(lua_State *L, int stanza, bool muc) {
	int top = lua_gettop(L);
	bool found = false;
	if (s2sp_raw(L, stanza, S2SP_KEY_TAGS) == LUA_TTABLE) {
		lua_Integer count = (lua_Integer)lua_rawlen(L, top + 1);
		for (lua_Integer i = 1; !found && i <= count && (muc || count == 1); i++) {
			lua_rawgeti(L, top + 1, i);
			struct s2sp_text name = s2sp_raw_text(L, top + 2, S2SP_KEY_NAME);
			s2sp_raw(L, top + 2, S2SP_KEY_ATTR);
			struct s2sp_text xmlns = s2sp_raw_text(L, top + 3, S2SP_KEY_XMLNS);
			found =
				muc ? s2sp_text_equal(name, S2SP_TEXT("x")) && s2sp_text_equal(xmlns, S2SP_TEXT("http://jabber.org/protocol/muc"))
					: s2sp_is_service(xmlns, name);
			lua_settop(L, top + 1);
		}
	}
	lua_settop(L, top);
	return found;
}

bool s2sp_lua_joins(lua_State *L, int stanza) {
	return has_payload(L, stanza, true);
}

/*
 * RFC 6120 8.2.3: an iq has an id, and a request exactly one payload. Core takes both for granted in what other servers send
 * (0.12.3, 13.0.1: mod_iq raises an error).
 */
static bool is_well_formed(lua_State *L, const struct s2sp_lua_question *question) {
	switch (question->facts.kind) {
	case S2SP_STANZA_IQ_GET:
	case S2SP_STANZA_IQ_SET: {
		bool one = s2sp_raw(L, question->stanza, S2SP_KEY_TAGS) == LUA_TTABLE && lua_rawlen(L, -1) == 1;
		lua_pop(L, 1);
		return one && question->id.length > 0;
	}
	case S2SP_STANZA_IQ_RESULT:
	case S2SP_STANZA_IQ_ERROR: return question->id.length > 0;
	case S2SP_STANZA_UNKNOWN: return false;
	case S2SP_STANZA_MESSAGE:
	case S2SP_STANZA_GROUPCHAT:
	case S2SP_STANZA_MESSAGE_ERROR:
	case S2SP_STANZA_PRESENCE:
	case S2SP_STANZA_JOIN:
	case S2SP_STANZA_UNAVAILABLE:
	case S2SP_STANZA_PRESENCE_ERROR:
	case S2SP_STANZA_PROBE:
	case S2SP_STANZA_SUBSCRIBE:
	case S2SP_STANZA_SUBSCRIBED:
	case S2SP_STANZA_UNSUBSCRIBE:
	case S2SP_STANZA_UNSUBSCRIBED:
	case S2SP_STANZA_SERVICE:
	case S2SP_STANZA_COUNT: break;
	}
	return true;
}

static bool has_accounts(lua_State *L, const struct s2sp_lua_question *question) {
	int top = lua_gettop(L);
	bool accounts = false;
	if (s2sp_raw(L, question->guard, S2SP_KEY_HOSTS) == LUA_TTABLE) {
		lua_pushvalue(L, question->host_value);
		lua_rawget(L, top + 1);
		accounts = s2sp_text_equal(s2sp_raw_text(L, top + 2, S2SP_KEY_TYPE), S2SP_TEXT("local"));
	}
	lua_settop(L, top);
	return accounts;
}

static enum s2sp_local_kind local_kind(const struct s2sp_lua_question *question, bool accounts) {
	const struct s2sp_jid *parts = &question->parts;
	bool has_node = parts->node.bytes != NULL;
	if (accounts)
		return has_node ? S2SP_LOCAL_USER : S2SP_LOCAL_HOST;
	bool is_domain = !has_node && parts->bare.length > 0 && parts->bare.length == question->local.length;
	return is_domain ? S2SP_LOCAL_COMPONENT : S2SP_LOCAL_ROOM;
}

static bool domain_has_spellings(struct s2sp_text domain, struct s2sp_told *told) {
	if (told == NULL || domain.length == 0 || domain.length > sizeof(told->domain))
		return s2sp_domain_has_spellings(domain);
	if (told->length != domain.length || memcmp(told->domain, domain.bytes, domain.length) != 0) {
		told->spellings = s2sp_domain_has_spellings(domain);
		told->length = domain.length;
		memcpy(told->domain, domain.bytes, domain.length);
	}
	return told->spellings;
}

static bool has_spellings(enum s2sp_local_kind local, struct s2sp_text contact, struct s2sp_told *told) {
	return local == S2SP_LOCAL_USER && domain_has_spellings(s2sp_jid_split(contact).domain, told);
}

bool s2sp_lua_question_facts(lua_State *L, struct s2sp_lua_question *question, enum s2sp_direction direction,
							 const struct s2sp_partner *partner, bool accounts, struct s2sp_told *told) {
	struct s2sp_stanza_facts *facts = &question->facts;
	memset(facts, 0, sizeof *facts);
	question->partner = partner;
	facts->direction = direction;
	facts->partner_type = (enum s2sp_partner_type)partner->type;
	facts->group_chat = partner->group_chat;
	facts->presence_automatic = partner->presence_automatic;
	facts->personal_events = partner->personal_events;
	facts->kind = s2sp_lua_stanza_kind(question->name, question->type);
	facts->local = local_kind(question, accounts);
	facts->spellings = has_spellings(facts->local, question->contact, told);
	bool well_formed = is_well_formed(L, question);
	if (facts->kind == S2SP_STANZA_IQ_GET && is_bare_domain(direction == S2SP_INCOMING ? question->local : question->contact) &&
		has_payload(L, question->stanza, false))
		facts->kind = S2SP_STANZA_SERVICE;
	else if (facts->kind == S2SP_STANZA_PRESENCE && !partner->group_chat && has_payload(L, question->stanza, true))
		facts->kind = S2SP_STANZA_JOIN;
	return well_formed;
}

bool s2sp_lua_question_begin(lua_State *L, struct s2sp_lua_question *question, enum s2sp_direction direction,
							 const struct s2sp_policy *policy, const struct s2sp_partner *partner, int guard, int host,
							 int stanza) {
	int attr = lua_gettop(L) + 1;
	question->policy = policy;
	question->guard = guard;
	question->host_value = host;
	question->stanza = stanza;
	s2sp_raw(L, stanza, S2SP_KEY_ATTR);
	question->name = s2sp_raw_text(L, stanza, S2SP_KEY_NAME);
	question->type = s2sp_raw_text(L, attr, S2SP_KEY_TYPE);
	question->id = s2sp_raw_text(L, attr, S2SP_KEY_ID);
	question->local = s2sp_raw_text(L, attr, direction == S2SP_INCOMING ? S2SP_KEY_TO : S2SP_KEY_FROM);
	question->parts = s2sp_jid_split(question->local);
	question->contact = s2sp_raw_text(L, attr, direction == S2SP_INCOMING ? S2SP_KEY_FROM : S2SP_KEY_TO);
	bool well_formed = s2sp_lua_question_facts(L, question, direction, partner, has_accounts(L, question), NULL);
	lua_settop(L, attr - 1);
	return well_formed;
}

lua_Integer s2sp_lua_roles_scanned(lua_State *L, int scanned, int host) {
	lua_pushvalue(L, host);
	lua_rawget(L, scanned);
	lua_Integer when = lua_isinteger(L, -1) ? lua_tointeger(L, -1) : 0;
	lua_pop(L, 1);
	return when;
}

bool s2sp_roles_scan_holds(lua_Integer scanned) {
	lua_Integer now = (lua_Integer)time(NULL);
	return scanned == now || scanned == now - 1;
}

static bool roles_deny_nobody(lua_State *L, const struct s2sp_lua_question *question) {
	bool roles = s2sp_raw(L, question->guard, S2SP_KEY_ROLES_SCANNED) == LUA_TTABLE;
	bool nobody = !roles || s2sp_roles_scan_holds(s2sp_lua_roles_scanned(L, lua_gettop(L), question->host_value));
	lua_pop(L, 1);
	return nobody;
}

/* Pushes guard.facts[name](host, user, local, contact, id), a word; empty when that fails. Below it is a value to be popped as well. */
static struct s2sp_text push_fact(lua_State *L, const struct s2sp_lua_question *question, const char *name) {
	s2sp_lua_field(L, question->guard, "facts");
	if (s2sp_lua_field(L, -1, name) == LUA_TFUNCTION) {
		lua_pushvalue(L, question->host_value);
		struct s2sp_text node = question->parts.node;
		lua_pushlstring(L, node.length == 0 ? "" : node.bytes, node.length);
		lua_pushlstring(L, question->local.length == 0 ? "" : question->local.bytes, question->local.length);
		lua_pushlstring(L, question->contact.length == 0 ? "" : question->contact.bytes, question->contact.length);
		lua_pushlstring(L, question->id.length == 0 ? "" : question->id.bytes, question->id.length);
		if (lua_pcall(L, 5, 1, 0) == LUA_OK)
			return s2sp_lua_text(L, -1);
	}
	return (struct s2sp_text){ NULL, 0 };
}

static int ask(lua_State *L, const struct s2sp_lua_question *question, enum s2sp_need need) {
	int top = lua_gettop(L);
	int value = s2sp_fact_from_token(need, push_fact(L, question, s2sp_need_token(need)));
	lua_settop(L, top);
	return value;
}

bool s2sp_lua_fact_is(lua_State *L, const struct s2sp_lua_question *question, const char *name, const char *word) {
	int top = lua_gettop(L);
	luaL_checkstack(L, 10, NULL);
	bool is = s2sp_text_equal(push_fact(L, question, name), s2sp_text_from(word));
	lua_settop(L, top);
	return is;
}

/* What a request costs that waits for the user: core keeps all of it, in memory and in the store of the roster. */
enum { REQUEST_WEIGHT_MAX = 4096, ELEMENT_WEIGHT = 64, REQUEST_DEPTH_MAX = 8 };

static void weigh_text(lua_State *L, int index, size_t *left) {
	size_t length = 0;
	if (lua_type(L, index) == LUA_TSTRING)
		lua_tolstring(L, index, &length);
	*left -= length < *left ? length : *left;
}

/* Subtracts what the element weighs from `left`, which ends at 0: no more is looked at then. */
static void weigh(lua_State *L, int element, int depth, size_t *left) {
	int top = lua_gettop(L);
	*left = depth > REQUEST_DEPTH_MAX || *left < ELEMENT_WEIGHT || !lua_checkstack(L, 8) ? 0 : *left - ELEMENT_WEIGHT;
	if (*left > 0 && s2sp_raw(L, element, S2SP_KEY_ATTR) == LUA_TTABLE) {
		for (lua_pushnil(L); *left > 0 && lua_next(L, top + 1) != 0; lua_pop(L, 1)) {
			weigh_text(L, top + 2, left);
			weigh_text(L, top + 3, left);
		}
	}
	lua_settop(L, top);
	lua_Integer count = (lua_Integer)lua_rawlen(L, element);
	for (lua_Integer i = 1; *left > 0 && i <= count; i++) {
		if (lua_rawgeti(L, element, i) == LUA_TTABLE)
			weigh(L, top + 1, depth + 1, left);
		else
			weigh_text(L, top + 1, left);
		lua_settop(L, top);
	}
}

static bool is_too_heavy(lua_State *L, const struct s2sp_lua_question *question) {
	size_t left = REQUEST_WEIGHT_MAX;
	weigh(L, question->stanza, 0, &left);
	return left == 0;
}

static int look_up(lua_State *L, const struct s2sp_lua_question *question, enum s2sp_need need) {
	if (need == S2SP_NEED_WAITING && is_too_heavy(L, question))
		return S2SP_WAITING_FULL;
	if (need == S2SP_NEED_ACCESS) {
		if (!s2sp_policy_external_access(question->policy, question->partner, question->parts.node))
			return S2SP_ACCESS_DENIED;
		if (roles_deny_nobody(L, question))
			return S2SP_ACCESS_ALLOWED;
	}
	int value = s2sp_lua_look_up_user(L, question, need);
	return value != 0 ? value : ask(L, question, need);
}

struct s2sp_authorisation s2sp_lua_authorise(lua_State *L, struct s2sp_lua_question *question) {
	struct s2sp_authorisation decision = s2sp_authorise(&question->facts);
	while (decision.verdict == S2SP_VERDICT_WAIT) {
		int value = look_up(L, question, decision.need);
		if (value == 0) {
			decision.verdict = S2SP_VERDICT_REFUSE;
			decision.reason = S2SP_REASON_INTERNAL_ERROR;
			decision.rule = "a fact about the local user could not be looked up";
			break;
		}
		s2sp_fact_set(&question->facts, decision.need, value);
		decision = s2sp_authorise(&question->facts);
	}
	return decision;
}

/* --- for the console --- */

static struct s2sp_text option(lua_State *L, const char *name) {
	return s2sp_lua_text_field(L, 1, name);
}

static bool type_from_token(struct s2sp_text token, enum s2sp_partner_type *type) {
	for (int i = S2SP_PUBLIC_UNVERIFIED; i <= S2SP_FEDERATED; i++) {
		*type = (enum s2sp_partner_type)i;
		if (s2sp_text_equal(token, s2sp_text_from(s2sp_partner_type_token(*type))))
			return true;
	}
	return false;
}

/*
 * authorise{ partner_type, direction = "in" | "out", stanza, ["local"] = "user" | "host" | "component" | "room", group_chat =
 *   "allow" | "refuse", presence_authorization = "automatic" | "user", personal_events = "allow" | "refuse",
 *   contact = the address, and the facts that are known:
 *   access, account, listed, directed, requested, standing, blocked, contacts, waiting } -> "allow" | "refuse", reason, rule, change,
 *   whether personal events may be in it. "wait", the name of the fact that is missing.
 * The same decision as for traffic. An unknown word is an error.
 */
static int authorise(lua_State *L) {
	luaL_checktype(L, 1, LUA_TTABLE);
	struct s2sp_stanza_facts facts = { .kind = s2sp_stanza_kind_from_token(option(L, "stanza")),
									   .local = s2sp_local_kind_from_token(option(L, "local")),
									   .group_chat = s2sp_text_equal(option(L, "group_chat"), S2SP_TEXT("allow")),
									   .presence_automatic =
										   s2sp_text_equal(option(L, "presence_authorization"), S2SP_TEXT("automatic")),
									   .personal_events = s2sp_text_equal(option(L, "personal_events"), S2SP_TEXT("allow")) };
	luaL_argcheck(L, type_from_token(option(L, "partner_type"), &facts.partner_type), 1, "partner_type");
	luaL_argcheck(L, facts.kind != S2SP_STANZA_UNKNOWN, 1, "stanza");
	luaL_argcheck(L, facts.local != S2SP_LOCAL_UNKNOWN, 1, "local");
	facts.spellings = has_spellings(facts.local, option(L, "contact"), NULL);
	facts.direction = s2sp_text_equal(option(L, "direction"), S2SP_TEXT("out")) ? S2SP_OUTGOING : S2SP_INCOMING;
	for (int need = S2SP_NEED_NOTHING + 1; need < S2SP_NEED_COUNT; need++) {
		struct s2sp_text token = option(L, s2sp_need_token((enum s2sp_need)need));
		int value = s2sp_fact_from_token((enum s2sp_need)need, token);
		luaL_argcheck(L, token.length == 0 || value != 0, 1, s2sp_need_token((enum s2sp_need)need));
		s2sp_fact_set(&facts, (enum s2sp_need)need, value);
	}
	struct s2sp_authorisation decision = s2sp_authorise(&facts);
	if (decision.verdict == S2SP_VERDICT_WAIT) {
		lua_pushliteral(L, "wait");
		lua_pushstring(L, s2sp_need_token(decision.need));
		return 2;
	}
	lua_pushstring(L, decision.verdict == S2SP_VERDICT_ALLOW ? "allow" : "refuse");
	lua_pushstring(L, s2sp_reason_row(decision.reason)->token);
	s2sp_lua_push_words(L, decision.rule);
	lua_pushstring(L, s2sp_reason_row(decision.change)->token);
	lua_pushboolean(L, decision.personal_events);
	return 5;
}

/* without_notes(stanza, cache) -> a copy without status notes, or nil when it has none; for tests */
static int without_notes(lua_State *L) {
	luaL_checktype(L, 1, LUA_TTABLE);
	luaL_checktype(L, 2, LUA_TTABLE);
	lua_settop(L, 2);
	if (!s2sp_lua_without_notes(L, 1, 2))
		lua_pushnil(L);
	return 1;
}

/*
 * without_events(stanza) -> "none", "some" or "all", and with "some" a copy without personal events: of what a local user sends to a
 * partner that may not have them; for tests
 */
static int without_events(lua_State *L) {
	static const char *const words[] = { "none", "some", "all" };
	struct s2sp_lua_question question = { .stanza = 1 };
	luaL_checktype(L, 1, LUA_TTABLE);
	lua_settop(L, 1);
	s2sp_raw(L, 1, S2SP_KEY_ATTR);
	question.local = s2sp_raw_text(L, 2, S2SP_KEY_FROM);
	question.parts = s2sp_jid_split(question.local);
	question.facts.kind = s2sp_stanza_kind_of(s2sp_raw_text(L, 1, S2SP_KEY_NAME), s2sp_raw_text(L, 2, S2SP_KEY_TYPE));
	enum s2sp_events events = s2sp_lua_events(L, &question);
	lua_pushstring(L, words[events]);
	if (events != S2SP_EVENTS_SOME)
		return 1;
	s2sp_lua_push_without_events(L, &question);
	return 2;
}

int s2sp_lua_open_authorise(lua_State *L) {
	static const luaL_Reg functions[] = {
		{ "authorise", authorise }, { "without_notes", without_notes }, { "without_events", without_events }, { NULL, NULL }
	};
	luaL_newlibtable(L, functions);
	s2sp_push_keys(L);
	luaL_setfuncs(L, functions, S2SP_KEY_COUNT);
	return 1;
}

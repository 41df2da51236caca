#include "peer_certificate.h"

#include <string.h>

#include "idna.h"
#include "objects.h"
#include "values.h"

#define MESSAGE_SIZE 2048
/* Configured pins of one partner that judge_certificate takes; the policy's own list has no such limit. */
#define PINS_MAX 64

/* What a judgement works on, in one userdata: if anything throws, the collector takes it. */
struct bench {
	struct s2sp_certificate_report report;
	struct s2sp_text chain[S2SP_CHAIN_LENGTH_MAX + 1];
	size_t count;
	size_t capacity;
	unsigned char bytes[]; /* DER decoded from PEM */
};

/*
 * Calls method(object, number), or method(object) for 0, of the object on top of the stack, which it replaces with the first
 * result; nil without such a method.
 */
static void call_method(lua_State *L, const char *method, lua_Integer number) {
	int kind = lua_type(L, -1);
	if ((kind != LUA_TTABLE && kind != LUA_TUSERDATA) || lua_getfield(L, -1, method) != LUA_TFUNCTION) {
		if (kind == LUA_TTABLE || kind == LUA_TUSERDATA)
			lua_pop(L, 1);
		lua_pop(L, 1);
		lua_pushnil(L);
		return;
	}
	lua_insert(L, -2);
	if (number != 0)
		lua_pushinteger(L, number);
	lua_call(L, number != 0 ? 2 : 1, 1);
}

/*
 * LuaSec's getpeercertificate(n), not getpeerchain: for a client without certificate the latter returns an object around
 * NULL on the server's side (LuaSec 1.2.0), and it has no limit. The former gives the leaf for 1 on both sides.
 */
static void push_certificate(lua_State *L, int socket, lua_Integer number) {
	lua_pushvalue(L, socket);
	call_method(L, "getpeercertificate", number);
	call_method(L, "pem", 0);
}

void s2sp_lua_push_peer_chain(lua_State *L, int session, bool finished) {
	int top = lua_gettop(L);
	luaL_checkstack(L, 8, NULL);
	s2sp_lua_field(L, session, "conn");
	call_method(L, "socket", 0); /* the LuaSec object once TLS has begun, in 0.12 and in 13 */
	int socket = top + 1;
	if (finished) {
		finished = lua_type(L, socket) == LUA_TUSERDATA;
	} else {
		lua_pushvalue(L, socket);
		call_method(L, "info", 0); /* a plain socket has no such method, and before the handshake is done there is no protocol */
		finished = lua_istable(L, -1) && s2sp_lua_text_field(L, -1, "protocol").length > 0;
	}
	if (!finished) {
		lua_settop(L, top);
		lua_pushnil(L);
		return;
	}
	lua_settop(L, socket);
	lua_newtable(L);
	for (lua_Integer number = 1; number <= S2SP_CHAIN_LENGTH_MAX + 1; number++) {
		push_certificate(L, socket, number);
		if (lua_type(L, -1) != LUA_TSTRING)
			break;
		lua_rawseti(L, socket + 1, number);
	}
	lua_settop(L, socket + 1);
	lua_replace(L, socket);
}

/* The text at chain[number], without a copy: the list keeps it. Empty when it is none. */
static struct s2sp_text item(lua_State *L, int chain_index, size_t number) {
	lua_rawgeti(L, chain_index, (lua_Integer)number);
	struct s2sp_text text = s2sp_lua_text(L, -1);
	lua_pop(L, 1);
	return text;
}

static bool is_pem(struct s2sp_text text) {
	return text.length > 0 && text.bytes[0] != 0x30; /* DER starts with a SEQUENCE */
}

/* Pushes a bench with room for what the chain's PEM texts decode to. NULL, and nothing pushed, when the value is no list. */
static struct bench *new_bench(lua_State *L, int chain_index) {
	size_t count = 0, room = 0;
	if (lua_istable(L, chain_index))
		count = lua_rawlen(L, chain_index);
	else if (!lua_isnoneornil(L, chain_index))
		return NULL;
	if (count > S2SP_CHAIN_LENGTH_MAX + 1)
		count = S2SP_CHAIN_LENGTH_MAX + 1;
	for (size_t i = 1; i <= count; i++) {
		struct s2sp_text text = item(L, chain_index, i);
		if (is_pem(text) && room < S2SP_CHAIN_SIZE_MAX)
			room += text.length < S2SP_CHAIN_SIZE_MAX ? text.length : S2SP_CHAIN_SIZE_MAX;
	}
	struct bench *bench = lua_newuserdatauv(L, sizeof(*bench) + room, 0);
	bench->count = count;
	bench->capacity = room;
	return bench;
}

/* Everything in here is C: nothing throws. What cannot be decoded becomes an empty text, which is malformed. */
static enum s2sp_certificate_verdict judge(lua_State *L, int chain_index, struct bench *bench,
										   struct s2sp_certificate_question question) {
	size_t used = 0;
	for (size_t i = 0; i < bench->count; i++) {
		bench->chain[i] = item(L, chain_index, i + 1);
		if (!is_pem(bench->chain[i]))
			continue;
		size_t length = 0;
		s2sp_certificate_from_pem(bench->chain[i], bench->bytes + used, bench->capacity - used, &length);
		bench->chain[i] = (struct s2sp_text){ (const char *)bench->bytes + used, length };
		used += length;
	}
	question.chain = bench->chain;
	question.chain_length = bench->count;
	question.to_ascii = s2sp_idna_to_ascii;
	return s2sp_certificate_judge(&question, &bench->report);
}

static struct s2sp_certificate_question ask(const struct s2sp_trust_store *store, const struct s2sp_lua_peer *peer) {
	return (struct s2sp_certificate_question){
		.store = store,
		.domain = peer->domain,
		.pins = peer->pins,
		.pin_count = peer->pin_count,
		.revocation = peer->revocation,
		.crls = peer->crls == NULL ? NULL : peer->crls->files,
		.crl_count = peer->crls == NULL ? 0 : peer->crls->count,
		.now = (int64_t)peer->now,
	};
}

static void set_string(lua_State *L, const char *name, const char *value) {
	if (value[0] != '\0')
		s2sp_lua_set_string(L, name, value);
}

static void set_time(lua_State *L, const char *name, int64_t value) {
	if (value != 0)
		s2sp_lua_set_integer(L, name, (lua_Integer)value);
}

static void push_names(lua_State *L, const struct s2sp_certificate_report *report) {
	lua_createtable(L, (int)report->names_kept, 0);
	for (size_t i = 0; i < report->names_kept; i++) {
		lua_createtable(L, 0, 3);
		set_string(L, "type", s2sp_identifier_type_token(report->names[i].type));
		set_string(L, "name", report->names[i].text);
		set_string(L, "finding", s2sp_identity_finding_token(report->names[i].finding));
		lua_rawseti(L, -2, (lua_Integer)i + 1);
	}
}

/*
 * { verdict, cause, depth (1: the leaf), subject, issuer, serial, not_before, not_after, chain_not_after, presented,
 *   name_count, names = { { type, name, finding }... }, pin (the leaf's), pins = { ... }, revocation_until, uncovered, uncovered_depth,
 *   uncovered_issuer, links (bytes, for the look at new revocation lists) }; what is unknown is absent.
 */
static void push_report(lua_State *L, const struct s2sp_certificate_report *report) {
	lua_createtable(L, 0, 19);
	set_string(L, "verdict", s2sp_certificate_verdict_token(report->verdict));
	set_string(L, "cause", report->cause);
	set_string(L, "subject", report->subject);
	set_string(L, "issuer", report->issuer);
	set_string(L, "serial", report->serial);
	set_time(L, "not_before", report->not_before);
	set_time(L, "not_after", report->not_after);
	set_time(L, "chain_not_after", report->chain_not_after);
	set_time(L, "depth", (int64_t)report->fault_depth + 1);
	set_time(L, "revocation_until", report->revocation_until);
	if (report->uncovered != NULL) {
		set_string(L, "uncovered", report->uncovered);
		set_time(L, "uncovered_depth", (int64_t)report->uncovered_depth + 1);
		set_string(L, "uncovered_issuer", report->uncovered_issuer);
	}
	lua_pushlstring(L, (const char *)report->links, report->link_bytes);
	lua_setfield(L, -2, "links");
	s2sp_lua_set_integer(L, "presented", (lua_Integer)report->presented);
	s2sp_lua_set_integer(L, "name_count", (lua_Integer)report->name_count);
	push_names(L, report);
	lua_setfield(L, -2, "names");
	lua_createtable(L, (int)report->pin_count, 0);
	for (size_t i = 0; i < report->pin_count; i++) {
		char text[S2SP_PIN_TEXT];
		s2sp_pin_text(&report->pins[i], text);
		lua_pushstring(L, text);
		if (i == 0) {
			lua_pushvalue(L, -1);
			lua_setfield(L, -4, "pin");
		}
		lua_rawseti(L, -2, (lua_Integer)i + 1);
	}
	lua_setfield(L, -2, "pins");
}

/* The verdict on the chain at `chain_index`, and its report pushed. */
static enum s2sp_certificate_verdict judge_peer(lua_State *L, int chain_index, struct s2sp_trust_store *store,
												const struct s2sp_lua_peer *peer) {
	luaL_checkstack(L, 10, NULL);
	chain_index = lua_absindex(L, chain_index);
	struct bench *bench = new_bench(L, chain_index);
	if (bench == NULL) {
		lua_createtable(L, 0, 1);
		set_string(L, "verdict", s2sp_certificate_verdict_token(S2SP_CERTIFICATE_UNKNOWN));
		return S2SP_CERTIFICATE_UNKNOWN;
	}
	enum s2sp_certificate_verdict verdict = judge(L, chain_index, bench, ask(store, peer));
	push_report(L, &bench->report);
	lua_remove(L, -2);
	return verdict;
}

enum s2sp_certificate_verdict s2sp_lua_judge_peer_known(lua_State *L, int store, int chain, const struct s2sp_lua_peer *peer) {
	store = lua_absindex(L, store);
	chain = lua_absindex(L, chain);
	if (s2sp_lua_recall_report(L, store, chain, peer))
		return S2SP_CERTIFICATE_VALID;
	enum s2sp_certificate_verdict verdict = judge_peer(L, chain, s2sp_lua_check_trust_store(L, store), peer);
	if (verdict == S2SP_CERTIFICATE_VALID)
		s2sp_lua_remember_report(L, store, chain, peer);
	return verdict;
}

struct s2sp_trust_store *s2sp_lua_test_trust_store(lua_State *L, int index) {
	struct s2sp_trust_store **slot = luaL_testudata(L, index, S2SP_LUA_TRUST_STORE);
	return slot == NULL ? NULL : *slot;
}

struct s2sp_trust_store *s2sp_lua_check_trust_store(lua_State *L, int index) {
	return s2sp_lua_check_slot(L, index, S2SP_LUA_TRUST_STORE, "trust store");
}

static int free_trust_store(lua_State *L) {
	struct s2sp_trust_store **slot = luaL_checkudata(L, 1, S2SP_LUA_TRUST_STORE);
	s2sp_trust_store_free(*slot);
	*slot = NULL;
	return 0;
}

/* The path at table[name], which stays on the stack; NULL when it is absent. */
static const char *path_field(lua_State *L, int table, const char *name) {
	if (lua_getfield(L, table, name) == LUA_TNIL)
		return NULL;
	size_t length = 0;
	const char *path = lua_type(L, -1) == LUA_TSTRING ? lua_tolstring(L, -1, &length) : NULL;
	if (path == NULL || strlen(path) != length || length == 0)
		luaL_error(L, "trust_store: %s must be a path", name);
	return path;
}

/*
 * trust_store{ file = } (trust_anchors) or trust_store{ cafile =, capath = } (the host's own; both absent: OpenSSL's default),
 * and now = seconds since the epoch (absent: the clock).
 * -> the store and, when there is something to correct, warnings, one a line; or nil and what is wrong, naming the file
 */
static int trust_store(lua_State *L) {
	luaL_checktype(L, 1, LUA_TTABLE);
	lua_settop(L, 1);
	struct s2sp_trust_source source = { NULL, NULL, NULL, 0 };
	source.anchors = path_field(L, 1, "file");
	source.file = path_field(L, 1, "cafile");
	source.path = path_field(L, 1, "capath");
	lua_getfield(L, 1, "now");
	source.now = (int64_t)luaL_optinteger(L, -1, (lua_Integer)time(NULL));

	char message[MESSAGE_SIZE];
	struct s2sp_trust_store **slot = s2sp_lua_new_slot(L, S2SP_LUA_TRUST_STORE, 1);
	enum s2sp_status status = s2sp_trust_store_new(&source, slot, message, sizeof(message));
	return s2sp_lua_outcome(L, status, message);
}

/* store:count() -> anchors read from files */
static int trust_store_count(lua_State *L) {
	lua_pushinteger(L, (lua_Integer)s2sp_trust_store_count(s2sp_lua_check_trust_store(L, 1)));
	return 1;
}

/* store:not_after() -> when the last of the anchors expires, nil when that is not known */
static int trust_store_not_after(lua_State *L) {
	int64_t not_after = s2sp_trust_store_not_after(s2sp_lua_check_trust_store(L, 1));
	if (not_after == 0)
		lua_pushnil(L);
	else
		lua_pushinteger(L, (lua_Integer)not_after);
	return 1;
}

/* The list of pins at `index`; a text that is not a pin raises an error, since a pin left out would be a pin less. */
static size_t check_pins(lua_State *L, int index, struct s2sp_pin pins[PINS_MAX]) {
	if (lua_isnoneornil(L, index))
		return 0;
	luaL_checktype(L, index, LUA_TTABLE);
	size_t count = lua_rawlen(L, index);
	luaL_argcheck(L, count <= PINS_MAX, index, "too many pins");
	for (size_t i = 0; i < count; i++) {
		if (!s2sp_pin_from_text(item(L, index, i + 1), &pins[i]))
			luaL_argerror(L, index, "a pin is \"sha256//BASE64=\"");
	}
	return count;
}

/* judge_certificate(chain, store, domain[, pins[, now[, revocation[, crl set]]]]) -> the table of push_report */
static int judge_certificate(lua_State *L) {
	struct s2sp_trust_store *store = s2sp_lua_check_trust_store(L, 2);
	struct s2sp_domain domain;
	struct s2sp_pin pins[PINS_MAX];
	luaL_checktype(L, 3, LUA_TSTRING);
	s2sp_lua_domain(s2sp_lua_text(L, 3), &domain);
	size_t pin_count = check_pins(L, 4, pins);
	lua_Integer now = luaL_optinteger(L, 5, (lua_Integer)time(NULL));
	static const char *const words[] = { "off", "if_known", "required", NULL };
	static const enum s2sp_revocation modes[] = { S2SP_REVOCATION_OFF, S2SP_REVOCATION_IF_KNOWN, S2SP_REVOCATION_REQUIRED };
	const struct s2sp_lua_peer peer = {
		.domain = s2sp_domain_text(&domain),
		.pins = pins,
		.pin_count = pin_count,
		.revocation = modes[luaL_checkoption(L, 6, "off", words)],
		.crls = s2sp_lua_test_crls(L, 7),
		.now = (time_t)now,
	};
	luaL_argcheck(L, peer.crls != NULL || lua_isnoneornil(L, 7), 7, "must be a set of revocation lists");
	judge_peer(L, 1, store, &peer);
	return 1;
}

/* peer_chain(session) -> list of PEM texts, or nil without TLS */
static int peer_chain(lua_State *L) {
	luaL_checkany(L, 1);
	s2sp_lua_push_peer_chain(L, 1, false);
	return 1;
}

int s2sp_lua_open_certificate(lua_State *L) {
	static const luaL_Reg methods[] = {
		{ "count", trust_store_count },
		{ "not_after", trust_store_not_after },
		{ NULL, NULL },
	};
	static const luaL_Reg functions[] = {
		{ "trust_store", trust_store },
		{ "judge_certificate", judge_certificate },
		{ "peer_chain", peer_chain },
		{ NULL, NULL },
	};
	s2sp_lua_new_class(L, S2SP_LUA_TRUST_STORE, methods, free_trust_store);
	luaL_newlib(L, functions);
	return 1;
}

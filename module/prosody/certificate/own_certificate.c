/* own_certificate: what partners will see of us, for the check before anybody connects. */
#define _GNU_SOURCE /* for memmem */
#include "peer_certificate.h"

#include <string.h>

#include "certificate_own.h"
#include "idna.h"
#include "objects.h"
#include "values.h"

/* A file of a chain and its key: far more than anybody has. */
#define FILE_SIZE_MAX (1024 * 1024)

/* The text and the domain that both functions begin with. */
static struct s2sp_text check_text(lua_State *L, struct s2sp_domain *domain) {
	struct s2sp_text pem;
	pem.bytes = luaL_checklstring(L, 1, &pem.length);
	luaL_checktype(L, 2, LUA_TSTRING);
	luaL_argcheck(L, pem.length <= FILE_SIZE_MAX, 1, "too large");
	s2sp_lua_domain(s2sp_lua_text(L, 2), domain);
	return pem;
}

static void push_own(lua_State *L, const struct s2sp_own_certificate *own) {
	lua_createtable(L, 0, 10);
	s2sp_lua_set_boolean(L, "names_domain", own->names_domain);
	s2sp_lua_set_boolean(L, "key_strong", own->key_strong);
	s2sp_lua_set_boolean(L, "self_signed", own->self_signed);
	s2sp_lua_set_string(L, "key_type", own->key_type);
	s2sp_lua_set_string(L, "subject", own->subject);
	s2sp_lua_set_string(L, "issuer", own->issuer);
	s2sp_lua_set_string(L, "names", own->names);
	s2sp_lua_set_integer(L, "key_bits", (lua_Integer)own->key_bits);
	s2sp_lua_set_integer(L, "not_before", own->not_before);
	s2sp_lua_set_integer(L, "not_after", own->not_after);
}

/*
 * own_certificate(text, domain): of the first certificate in a PEM text -> { names_domain, key_type, key_bits, key_strong,
 * self_signed, subject, issuer, names, not_before, not_after }, or nil and what is wrong
 */
int s2sp_lua_own_certificate(lua_State *L) {
	struct s2sp_domain domain;
	struct s2sp_text pem = check_text(L, &domain);
	unsigned char *der = lua_newuserdatauv(L, pem.length + 1, 0);
	struct s2sp_own_certificate *own = lua_newuserdatauv(L, sizeof(*own), 0);
	size_t length = 0;
	if (s2sp_certificate_from_pem(pem, der, pem.length + 1, &length) != S2SP_STATUS_OK) {
		lua_pushnil(L);
		lua_pushliteral(L, "holds no certificate in PEM form");
		return 2;
	}
	enum s2sp_status status = s2sp_own_certificate_read((struct s2sp_text){ (const char *)der, length },
														s2sp_domain_text(&domain), s2sp_idna_to_ascii, own);
	if (status != S2SP_STATUS_OK)
		return s2sp_lua_outcome(L, status, "holds a certificate that cannot be read");
	push_own(L, own);
	return 1;
}

/* The certificates of a file, their DER behind it. */
struct own_file {
	size_t count;
	struct s2sp_text chain[S2SP_CHAIN_LENGTH_MAX];
	struct s2sp_own_chain own;
	unsigned char bytes[];
};

/* Finds the next certificate of a PEM text, from its BEGIN line to its END line; `text` is then what follows. */
static bool next_block(struct s2sp_text *text, struct s2sp_text *block) {
	static const char begin[] = "-----BEGIN ", end[] = "-----END ";
	const char *from = memmem(text->bytes, text->length, begin, sizeof(begin) - 1);
	if (from == NULL)
		return false;
	size_t rest = text->length - (size_t)(from - text->bytes);
	const char *to = memmem(from, rest, end, sizeof(end) - 1);
	if (to == NULL)
		return false;
	const char *line = memchr(to, '\n', rest - (size_t)(to - from));
	to = line == NULL ? from + rest : line + 1;
	block->bytes = from;
	block->length = (size_t)(to - from);
	text->length -= (size_t)(to - text->bytes);
	text->bytes = to;
	return true;
}

static bool is_certificate(struct s2sp_text block) {
	static const char mark[] = "CERTIFICATE-----";
	const char *line = memchr(block.bytes, '\n', block.length);
	return line != NULL && memmem(block.bytes, (size_t)(line - block.bytes), mark, sizeof(mark) - 1) != NULL;
}

/* False: one is damaged, or there are none. What is beyond the longest chain is left out. */
static bool decode_chain(struct s2sp_text text, size_t capacity, struct own_file *file) {
	struct s2sp_text block;
	size_t used = 0, length;
	for (file->count = 0; next_block(&text, &block) && file->count < S2SP_CHAIN_LENGTH_MAX;) {
		if (!is_certificate(block))
			continue;
		if (s2sp_certificate_from_pem(block, file->bytes + used, capacity - used, &length) != S2SP_STATUS_OK)
			return false;
		file->chain[file->count++] = (struct s2sp_text){ (const char *)file->bytes + used, length };
		used += length;
	}
	return file->count > 0;
}

static void push_finding(lua_State *L, const struct s2sp_own_finding *finding) {
	lua_createtable(L, 0, 7);
	s2sp_lua_set_string(L, "fault", s2sp_own_fault_token(finding->fault));
	s2sp_lua_set_integer(L, "certificate", (lua_Integer)finding->certificate);
	s2sp_lua_set_string(L, "subject", finding->subject);
	s2sp_lua_set_string(L, "issuer", finding->issuer);
	s2sp_lua_set_string(L, "source", finding->source);
	s2sp_lua_set_integer(L, "not_before", finding->not_before);
	s2sp_lua_set_integer(L, "not_after", finding->not_after);
}

/*
 * own_chain(text, domain, store[, now]): the certificates of a PEM text, as a partner would judge them that trusts what `store` does -> { verdict,
 * cause, count, findings = { { fault, certificate, subject, issuer, source, not_before, not_after }... } }, or nil and what is wrong
 */
int s2sp_lua_own_chain(lua_State *L) {
	struct s2sp_domain domain;
	struct s2sp_text pem = check_text(L, &domain);
	const struct s2sp_trust_store *store = s2sp_lua_check_trust_store(L, 3);
	lua_Integer now = luaL_optinteger(L, 4, (lua_Integer)time(NULL));
	struct own_file *file = lua_newuserdatauv(L, sizeof(*file) + pem.length + 1, 0);
	enum s2sp_status status = S2SP_STATUS_INVALID;
	if (decode_chain(pem, pem.length + 1, file))
		status = s2sp_own_chain_judge(file->chain, file->count, store, s2sp_domain_text(&domain), s2sp_idna_to_ascii,
									  (int64_t)now, &file->own);
	if (status != S2SP_STATUS_OK)
		return s2sp_lua_outcome(L, status, "holds a certificate that cannot be read");
	lua_createtable(L, 0, 4);
	s2sp_lua_set_string(L, "verdict", s2sp_certificate_verdict_token(file->own.verdict));
	s2sp_lua_set_string(L, "cause", file->own.cause);
	s2sp_lua_set_integer(L, "count", (lua_Integer)file->count);
	lua_createtable(L, (int)file->own.finding_count, 0);
	for (size_t i = 0; i < file->own.finding_count; i++) {
		push_finding(L, &file->own.findings[i]);
		lua_rawseti(L, -2, (lua_Integer)i + 1);
	}
	lua_setfield(L, -2, "findings");
	return 1;
}

/*
 * guard.counters[host] is a block: a userdata whose user values keep its policy (and so the partners' names) alive, hold the
 * numbers of each partner about whom something was decided, and name its host. A block of a policy that has been replaced waits
 * in guard.counters[1..n] until it is drained.
 */
#include "counters.h"

#include "policy_object.h"
#include "record.h"

#define METATABLE "s2s_partners.counters"

enum { UV_POLICY = 1, UV_NUMBERS, UV_HOST, UV_COUNT = UV_HOST };

struct block {
	const struct s2sp_policy *policy;
	size_t count;
	/* by the partner's index, then one for the unlisted; each owned by UV_NUMBERS. Then the mark. */
	struct s2sp_numbers *numbers[];
};

static const char block_mark;

/* A new block for `policy`, which is on top of the stack; replaces it. */
static struct block *new_block(lua_State *L, const struct s2sp_policy *policy) {
	size_t count = s2sp_partner_table_count(s2sp_policy_table(policy)) + 1;
	size_t size = sizeof(struct block) + count * sizeof(struct s2sp_numbers *);
	const void *mark = &block_mark;
	struct block *block = lua_newuserdatauv(L, size + sizeof(mark), UV_COUNT);
	memset(block, 0, size);
	memcpy((char *)block + size, &mark, sizeof(mark));
	block->policy = policy;
	block->count = count;
	luaL_setmetatable(L, METATABLE);
	lua_insert(L, -2);
	lua_setiuservalue(L, -2, UV_POLICY);
	lua_newtable(L);
	lua_setiuservalue(L, -2, UV_NUMBERS);
	return block;
}

/* Pushes the counters of the host for this policy, new ones if there are none. NULL, and nothing pushed, when nothing is to be counted. */
static struct block *need_block(lua_State *L, int guard, int host, const struct s2sp_policy *policy) {
	int top = lua_gettop(L);
	if (s2sp_lua_field(L, guard, "counters") != LUA_TTABLE || lua_type(L, host) != LUA_TSTRING) {
		lua_settop(L, top);
		return NULL;
	}
	lua_pushvalue(L, host);
	lua_rawget(L, top + 1);
	struct block *block = s2sp_lua_marked(L, -1, sizeof(*block), &block_mark);
	if (block != NULL && block->policy == policy) {
		lua_replace(L, top + 1);
		return block;
	}
	s2sp_lua_field(L, guard, "policies");
	if (!lua_istable(L, -1)) {
		lua_settop(L, top);
		return NULL;
	}
	lua_pushvalue(L, host);
	lua_rawget(L, -2);
	if (s2sp_lua_test_policy(L, -1) != policy) {
		lua_settop(L, top);
		return NULL;
	}
	struct block *fresh = new_block(L, policy);
	lua_pushvalue(L, host);
	lua_setiuservalue(L, -2, UV_HOST);
	if (block != NULL) {
		lua_pushvalue(L, top + 2);
		lua_rawseti(L, top + 1, (lua_Integer)lua_rawlen(L, top + 1) + 1);
	}
	lua_pushvalue(L, host);
	lua_pushvalue(L, -2);
	lua_rawset(L, top + 1);
	lua_replace(L, top + 1);
	lua_settop(L, top + 1);
	return fresh;
}

/* The numbers of a slot of the block on top of the stack, made if there are none. */
static struct s2sp_numbers *need_numbers(lua_State *L, struct block *block, size_t slot) {
	if (block->numbers[slot] == NULL) {
		lua_getiuservalue(L, -1, UV_NUMBERS);
		struct s2sp_numbers *numbers = lua_newuserdatauv(L, sizeof(*numbers), 0);
		memset(numbers, 0, sizeof(*numbers));
		lua_rawseti(L, -2, (lua_Integer)slot + 1);
		lua_pop(L, 1);
		block->numbers[slot] = numbers;
	}
	return block->numbers[slot];
}

static size_t slot_of(const struct block *block, const struct s2sp_partner *partner) {
	if (partner == NULL || partner == s2sp_policy_default(block->policy) || partner->index + 1 >= block->count)
		return block->count - 1;
	return partner->index;
}

/* Pushes the counters of the host and returns the numbers of the partner in them. NULL, and nothing pushed, when nothing is to be counted. */
static struct s2sp_numbers *push_numbers(lua_State *L, int guard, int host, const struct s2sp_policy *policy,
										 const struct s2sp_partner *partner) {
	luaL_checkstack(L, 6, NULL);
	struct block *block = policy == NULL ? NULL : need_block(L, lua_absindex(L, guard), lua_absindex(L, host), policy);
	return block == NULL ? NULL : need_numbers(L, block, slot_of(block, partner));
}

void s2sp_lua_count(lua_State *L, int guard, int host, const struct s2sp_policy *policy, const struct s2sp_partner *partner,
					enum s2sp_direction direction, enum s2sp_reason reason) {
	if ((unsigned)reason >= S2SP_REASON_COUNT)
		return;
	struct s2sp_numbers *numbers = push_numbers(L, guard, host, policy, partner);
	if (numbers == NULL)
		return;
	numbers->times[direction == S2SP_OUTGOING][reason]++;
	lua_pop(L, 1);
}

void s2sp_lua_keep_numbers(lua_State *L, int guard, int host, int record) {
	const struct s2sp_stream *stream = s2sp_lua_stream_test(L, record);
	record = lua_absindex(L, record);
	if (s2sp_stream_numbers(stream) != NULL || !s2sp_text_equal(s2sp_stream_local(stream), s2sp_lua_text(L, host)))
		return;
	struct s2sp_numbers *numbers = push_numbers(L, guard, host, stream->policy, stream->partner);
	if (numbers != NULL)
		s2sp_lua_stream_keep_numbers(L, record, numbers);
}

/* count(guard, host, domain, direction, reason): for decisions that Lua acts on. An unknown reason or host counts nothing. */
static int count(lua_State *L) {
	luaL_checktype(L, 1, LUA_TTABLE);
	luaL_checktype(L, 2, LUA_TSTRING);
	lua_settop(L, 5);
	enum s2sp_direction direction = s2sp_text_equal(s2sp_lua_text(L, 4), S2SP_TEXT("out")) ? S2SP_OUTGOING : S2SP_INCOMING;
	enum s2sp_reason reason = s2sp_reason_from_token(s2sp_lua_text(L, 5));
	s2sp_lua_field(L, 1, "policies");
	const struct s2sp_policy *policy = NULL;
	if (lua_istable(L, -1)) {
		lua_pushvalue(L, 2);
		lua_rawget(L, -2);
		policy = s2sp_lua_test_policy(L, -1);
	}
	if (policy == NULL || reason == S2SP_REASON_COUNT)
		return 0;
	struct s2sp_domain domain;
	s2sp_lua_domain(s2sp_lua_text(L, 3), &domain);
	const struct s2sp_partner *partner =
		domain.length == 0 ? NULL : s2sp_partner_table_find(s2sp_policy_table(policy), s2sp_domain_text(&domain), NULL);
	s2sp_lua_count(L, 1, 2, policy, partner, direction, reason);
	return 0;
}

static const char *decision_token(enum s2sp_reason reason) {
	switch (s2sp_reason_row(reason)->grade) {
	case S2SP_REASON_GRADE_NONE: return "allow";
	case S2SP_REASON_GRADE_CHANGE: return "change";
	case S2SP_REASON_GRADE_REFUSAL: break;
	}
	return "refuse";
}

/* Calls visit(host, partner, direction, decision, reason, times) for what a slot has, then forgets it. */
static void drain_slot(lua_State *L, int host, int visit, const struct block *block, size_t slot) {
	struct s2sp_numbers *numbers = block->numbers[slot];
	const struct s2sp_partner *partner = s2sp_partner_table_at(s2sp_policy_table(block->policy), slot);
	for (size_t direction = 0; direction < 2; direction++) {
		for (size_t reason = 0; reason < S2SP_REASON_COUNT; reason++) {
			uint64_t times = numbers->times[direction][reason];
			if (times == 0)
				continue;
			numbers->times[direction][reason] = 0;
			lua_pushvalue(L, visit);
			lua_pushvalue(L, host);
			if (partner == NULL)
				lua_pushliteral(L, "unlisted");
			else
				lua_pushlstring(L, partner->name.bytes, partner->name.length);
			lua_pushstring(L, direction == 0 ? "in" : "out");
			lua_pushstring(L, decision_token((enum s2sp_reason)reason));
			lua_pushstring(L, s2sp_reason_row((enum s2sp_reason)reason)->token);
			lua_pushinteger(L, (lua_Integer)times);
			lua_call(L, 6, 0);
		}
	}
}

/* drain_counters(block, visit): visit(host, partner, direction, decision, reason, times) for each number above zero. */
static int drain_counters(lua_State *L) {
	const struct block *block = luaL_checkudata(L, 1, METATABLE);
	luaL_checktype(L, 2, LUA_TFUNCTION);
	lua_settop(L, 2);
	lua_getiuservalue(L, 1, UV_HOST);
	for (size_t slot = 0; slot < block->count; slot++) {
		if (block->numbers[slot] != NULL)
			drain_slot(L, 3, 2, block, slot);
	}
	return 0;
}

int s2sp_lua_open_counters(lua_State *L) {
	static const luaL_Reg functions[] = {
		{ "count", count },
		{ "drain_counters", drain_counters },
		{ NULL, NULL },
	};
	luaL_newmetatable(L, METATABLE);
	lua_pushboolean(L, 0);
	lua_setfield(L, -2, "__metatable");
	lua_pop(L, 1);
	luaL_newlib(L, functions);
	return 1;
}

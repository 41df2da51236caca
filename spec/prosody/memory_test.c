/*
 * The shared object in a Lua that is short of memory: an allocator that fails at every allocation in turn, a collector that never
 * rests, two states in one process. Nothing may crash or leak, nobody may get through because of it, and what failed
 * must work when it is tried again. What runs is memory.lua.
 *
 * S2SP_STRIDE: only every so many allocations fails (1).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

#include "certificate_maker.h"

/* Lua's allocator. What is freed is overwritten, and what grows always moves. */
struct memory {
	size_t bytes;
	size_t calls;   /* since it was armed */
	size_t fail_at; /* the first that fails; 0: none */
	size_t fail_count;
	size_t failed;
};

static void *allocate(void *owner, void *block, size_t old, size_t size) {
	struct memory *memory = owner;
	if (block == NULL)
		old = 0; /* a type instead of a size */
	if (size == 0) {
		if (block != NULL)
			memset(block, 0xdd, old);
		memory->bytes -= old;
		free(block);
		return NULL;
	}
	/* Lua takes for granted that a block can become smaller. */
	if (size > old) {
		memory->calls++;
		if (memory->fail_at != 0 && memory->calls >= memory->fail_at && memory->calls - memory->fail_at < memory->fail_count) {
			memory->failed++;
			return NULL;
		}
	}
	void *fresh = malloc(size);
	if (fresh == NULL)
		abort();
	if (block != NULL) {
		memcpy(fresh, block, old < size ? old : size);
		memset(block, 0xdd, old);
		free(block);
	}
	memory->bytes += size - old;
	return fresh;
}

struct world {
	lua_State *L; /* memory.lua's table is at index 1 */
	struct memory *memory;
};

/* What memory.lua judges a certificate by: made once, of no use before 2025 or in a hundred years. */
static struct {
	char *chain;
	const char *anchors, *revoking, *empty;
} lists;

static const char *write_list(struct crl_recipe recipe) {
	char *pem = maker_crl_pem(maker_crl(recipe));
	const char *path = maker_file(pem, strlen(pem));
	free(pem);
	return path;
}

static int make_lists(void **state) {
	(void)state;
	enum { CENTURY = 36500 };
	const struct made *root = maker_make((struct recipe){
		.subject = "Root", .basic = "critical,CA:TRUE", .usage = "critical,keyCertSign,cRLSign", .from = -10, .to = CENTURY });
	const struct made *leaf =
		maker_make((struct recipe){ .issuer = root, .names = "DNS:revoked.test", .from = -10, .to = CENTURY });
	char *pem = maker_pem(&root, 1);
	lists.anchors = maker_file(pem, strlen(pem));
	free(pem);
	lists.chain = maker_pem(&leaf, 1);
	lists.revoking =
		write_list((struct crl_recipe){ .issuer = root, .revoked = { leaf }, .more = 20, .from = -1, .to = CENTURY });
	lists.empty = write_list((struct crl_recipe){ .issuer = root, .from = -1, .to = CENTURY });
	return 0;
}

static int remove_lists(void **state) {
	(void)state;
	free(lists.chain);
	maker_clean();
	return 0;
}

static void set_string(lua_State *L, const char *name, const char *value) {
	lua_pushstring(L, value);
	lua_setfield(L, -2, name);
}

static struct world open_world(const char *listed) {
	struct world world = { .memory = calloc(1, sizeof(struct memory)) };
	assert_non_null(world.memory);
	world.L = lua_newstate(allocate, world.memory);
	lua_State *L = world.L;
	assert_non_null(L);
	luaL_openlibs(L);
	if (luaL_loadfile(L, "spec/prosody/memory.lua") != LUA_OK)
		fail_msg("%s", lua_tostring(L, -1));
	lua_getglobal(L, "package");
	lua_getfield(L, -1, "loadlib");
	lua_pushstring(L, getenv("S2S_PARTNERS_SO"));
	lua_pushliteral(L, "luaopen_s2s_partners");
	lua_call(L, 2, 2);
	if (!lua_isfunction(L, -2))
		fail_msg("%s", lua_tostring(L, -1));
	lua_pop(L, 1);
	lua_remove(L, -2);
	lua_pushstring(L, listed);
	lua_newtable(L);
	set_string(L, "chain", lists.chain);
	set_string(L, "anchors", lists.anchors);
	set_string(L, "revoking", lists.revoking);
	set_string(L, "empty", lists.empty);
	lua_newuserdatauv(L, 1, 0);
	lua_setfield(L, -2, "socket");
	if (lua_pcall(L, 3, 1, 0) != LUA_OK)
		fail_msg("%s", lua_tostring(L, -1));
	assert_int_equal(lua_gettop(L), 1);
	return world;
}

static void close_world(struct world *world) {
	lua_close(world->L);
	assert_int_equal(world->memory->bytes, 0);
	free(world->memory);
}

/* world[function](): whether it went through. */
static bool run(struct world *world, const char *function) {
	lua_State *L = world->L;
	lua_getfield(L, 1, function);
	bool ok = lua_pcall(L, 0, 0, 0) == LUA_OK;
	if (!ok && world->memory->failed == 0)
		fail_msg("%s: %s", function, lua_tostring(L, -1));
	lua_settop(L, 1);
	return ok;
}

static void run_all(struct world *world, const char *const functions[], size_t count) {
	for (size_t i = 0; i < count; i++)
		assert_true(run(world, functions[i]));
}

static lua_Integer counter(struct world *world, const char *name) {
	lua_getfield(world->L, 1, name);
	lua_Integer value = lua_tointeger(world->L, -1);
	lua_settop(world->L, 1);
	return value;
}

static void check_nobody_got_through(struct world *world, const char *when, size_t at) {
	lua_State *L = world->L;
	lua_getfield(L, 1, "violations");
	for (lua_pushnil(L); lua_next(L, 2) != 0; lua_pop(L, 1)) {
		if (lua_toboolean(L, -1))
			fail_msg("%s when allocation %zu of %s fails", lua_tostring(L, -2), at, when);
	}
	lua_settop(L, 1);
}

static const char *const steps[] = { "open",           "install", "compile_table", "draft",
									 "compile_policy", "traffic", "revocation",    "replace" };
enum { STEPS = sizeof(steps) / sizeof(steps[0]) };

/* Long strings are no constants in Lua: looking one up may need memory. */
#define FABRIKAM "the-longest-name-of-a-partner-that-one-can-think-of.fabrikam.test"
#define LITWARE "the-longest-name-of-a-partner-that-one-can-think-of.litware.test"

/* Everything works, then traffic gets through again. */
static void check_recovery(struct world *world) {
	lua_Integer delivered = counter(world, "delivered"), routed = counter(world, "routed"), trusted = counter(world, "trusted");
	run_all(world, steps, STEPS);
	assert_int_equal(counter(world, "delivered"), delivered + 1);
	assert_int_equal(counter(world, "routed"), routed + 1);
	assert_int_equal(counter(world, "trusted"), trusted + 1); /* or that nobody else is would say nothing */
	assert_true(run(world, "forget"));
	lua_getfield(world->L, 1, "staying");
	bool stays = !lua_isnil(world->L, -1);
	lua_settop(world->L, 1);
	if (!stays)
		assert_true(run(world, "stay"));
	lua_getfield(world->L, 1, "places");
	assert_int_equal(lua_pcall(world->L, 0, 1, 0), LUA_OK);
	assert_true(lua_toboolean(world->L, -1)); /* or a partner would be locked out one day */
	lua_settop(world->L, 1);
}

static size_t stride(void) {
	const char *text = getenv("S2SP_STRIDE");
	return text == NULL || atoi(text) < 1 ? 1 : (size_t)atoi(text);
}

/* Fails `count` allocations in a row, from every one that the step makes. Lua collects and tries again before it gives up. */
static size_t fail_everywhere(size_t step, size_t count) {
	struct world world = open_world(FABRIKAM);
	size_t failed = 0, at = 1;
	check_recovery(&world);
	for (;; at += stride()) {
		/* So that a step's allocations do not depend on how much garbage is about. */
		lua_gc(world.L, LUA_GCCOLLECT);
		*world.memory = (struct memory){ .bytes = world.memory->bytes, .fail_at = at, .fail_count = count };
		bool ok = run(&world, steps[step]);
		bool reached = world.memory->failed > 0;
		*world.memory = (struct memory){ .bytes = world.memory->bytes };
		check_nobody_got_through(&world, steps[step], at);
		if (!reached) {
			assert_true(ok);
			break;
		}
		failed++;
		if (at % 64 == 1)
			check_recovery(&world);
	}
	check_recovery(&world);
	close_world(&world);
	return failed;
}

static void test_every_allocation_fails(void **state) {
	(void)state;
	static const size_t counts[] = { 1, 2, SIZE_MAX };
	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		for (size_t step = 0; step < STEPS; step++) {
			size_t failed = fail_everywhere(step, counts[i]);
			assert_true(failed > 5);
			if (counts[i] == SIZE_MAX)
				printf("# %s: failed at each of %zu allocations, three ways\n", steps[step], failed);
		}
	}
}

/*
 * The first time matters most: a class that is half made when memory runs out must not stay so. From a fresh state each time.
 */
static void test_every_allocation_fails_at_first(void **state) {
	(void)state;
	size_t failed = 0;
	for (size_t at = 1;; at += stride()) {
		struct world world = open_world(FABRIKAM);
		*world.memory = (struct memory){ .bytes = world.memory->bytes, .fail_at = at, .fail_count = 2 };
		for (size_t step = 0; step < STEPS; step++) {
			if (!run(&world, steps[step]))
				break;
		}
		bool reached = world.memory->failed > 0;
		*world.memory = (struct memory){ .bytes = world.memory->bytes };
		check_nobody_got_through(&world, "everything", at);
		check_recovery(&world);
		close_world(&world);
		if (!reached)
			break;
		failed++;
	}
	assert_true(failed > 100);
	printf("# failed at each of %zu allocations of a fresh state\n", failed);
}

static void full_collection(lua_State *L, lua_Debug *debug) {
	(void)debug;
	lua_gc(L, LUA_GCCOLLECT);
}

/* A step of the collector at every allocation that may make one, and a whole collection at every instruction of Lua. */
static void test_restless_collector(void **state) {
	(void)state;
	for (int mode = 0; mode < 3; mode++) {
		struct world world = open_world(FABRIKAM);
		if (mode == 0)
			lua_gc(world.L, LUA_GCINC, 1, 1000, 1);
		else if (mode == 1)
			lua_gc(world.L, LUA_GCGEN, 1, 1);
		else
			lua_sethook(world.L, full_collection, LUA_MASKCOUNT, 1);
		for (int round = 0; round < (mode == 2 ? 3 : 50); round++)
			check_recovery(&world);
		check_nobody_got_through(&world, "nothing", 0);
		assert_int_equal(counter(&world, "errors"), 0);
		close_world(&world);
	}
}

static bool own_policy(struct world *world, const char *other) {
	lua_State *L = world->L;
	lua_getfield(L, 1, "own_policy");
	lua_pushstring(L, other);
	if (lua_pcall(L, 1, 1, 0) != LUA_OK)
		fail_msg("%s", lua_tostring(L, -1));
	bool own = lua_toboolean(L, -1);
	lua_settop(L, 1);
	return own;
}

static void test_two_states(void **state) {
	(void)state;
	struct world one = open_world(FABRIKAM), other = open_world(LITWARE);
	/* In step, so that whatever they shared would be the other's. */
	for (int round = 0; round < 20; round++) {
		for (size_t step = 0; step < STEPS; step++) {
			assert_true(run(&one, steps[step]));
			assert_true(run(&other, steps[step]));
		}
		assert_true(own_policy(&one, LITWARE));
		assert_true(own_policy(&other, FABRIKAM));
	}
	close_world(&one);
	check_recovery(&other);
	assert_true(own_policy(&other, FABRIKAM));
	check_nobody_got_through(&other, "nothing", 0);
	close_world(&other);
}

/* No assertions of cmocka's here: they belong to the main thread. */
static void *run_in_thread(void *argument) {
	struct world *world = argument;
	for (int round = 0; round < 50; round++) {
		for (size_t step = 0; step < STEPS; step++) {
			lua_getfield(world->L, 1, steps[step]);
			if (lua_pcall(world->L, 0, 0, 0) != LUA_OK)
				return NULL;
			lua_settop(world->L, 1);
		}
	}
	return world;
}

static void test_two_threads(void **state) {
	(void)state;
	struct world worlds[2] = { open_world(FABRIKAM), open_world(LITWARE) };
	pthread_t threads[2];
	for (size_t i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, run_in_thread, &worlds[i]), 0);
	for (size_t i = 0; i < 2; i++) {
		void *result;
		assert_int_equal(pthread_join(threads[i], &result), 0);
		assert_ptr_equal(result, &worlds[i]);
		assert_int_equal(counter(&worlds[i], "delivered"), 50);
	}
	assert_true(own_policy(&worlds[0], LITWARE));
	assert_true(own_policy(&worlds[1], FABRIKAM));
	for (size_t i = 0; i < 2; i++)
		close_world(&worlds[i]);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_allocation_fails),
		cmocka_unit_test(test_every_allocation_fails_at_first),
		cmocka_unit_test(test_restless_collector),
		cmocka_unit_test(test_two_states),
		cmocka_unit_test(test_two_threads),
	};
	return cmocka_run_group_tests_name("memory", tests, make_lists, remove_lists);
}

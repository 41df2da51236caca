/* For pthread_sigmask. */
#define _POSIX_C_SOURCE 200809L

#include "table_draft.h"

#ifdef __GLIBC__
#include <malloc.h>
#endif
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "objects.h"
#include "partner_file.h"
#include "policy_compile.h"
#include "policy_feed.h"
#include "policy_object.h"
#include "values.h"

#define DRAFT_CLASS "s2s_partners.draft"

enum { WORTH_A_GUESS = 1 << 20 }; /* bytes of files */

struct file {
	struct s2sp_text place; /* both in `names` */
	const char *path;
};

/*
 * What is the thread's while it runs: all but `running`, `done` and `cancelled`. It begins with pthread_create and ends before pthread_join; nothing
 * else is shared with it, and no Lua.
 */
struct draft {
	struct s2sp_config *config; /* NULL: taken, or given up */
	struct s2sp_partner_table *table;
	enum s2sp_status status; /* of the work, and in the end of the sealing */
	struct file *files;      /* NULL: to be sealed */
	char *names;
	size_t count, at;
	lua_Integer first; /* where files[0] stands in the list */
	bool sealed;
	bool running; /* there is a thread to be joined */
	pthread_t thread;
	atomic_bool done, cancelled;
};

/* How many times what the first file holds all of them hold, by their sizes; a little more, so that the last ones find room as well. */
static double all_by_first(const struct draft *draft) {
	double first = 0, all = 0;
	for (size_t i = 0; i < draft->count; i++) {
		struct stat found;
		double size = stat(draft->files[i].path, &found) == 0 ? (double)found.st_size : 0;
		first = i == 0 ? size : first;
		all += size;
	}
	return first > 0 && all > WORTH_A_GUESS ? all / first * 1.01 : 1;
}

static void *work(void *of) {
	struct draft *draft = of;
	if (draft->files == NULL) {
		draft->status = s2sp_config_seal_table(draft->config, &draft->table);
	} else {
		enum s2sp_status status = S2SP_STATUS_OK;
		for (; draft->at < draft->count && status == S2SP_STATUS_OK; draft->at += status == S2SP_STATUS_OK) {
			const struct file *file = &draft->files[draft->at];
			status = s2sp_partner_file_feed(draft->config, file->place, file->path, &draft->cancelled);
			/* Of what was fed before the files the first of them says nothing. */
			if (draft->first == 1 && draft->at == 0 && status == S2SP_STATUS_OK)
				s2sp_config_expect(draft->config, all_by_first(draft));
		}
		draft->status = status == S2SP_STATUS_INVALID ? S2SP_STATUS_OK : status; /* not plain: it is Lua's */
	}
	atomic_store(&draft->done, true);
	return NULL;
}

/* Signals are for the thread that has the host's handlers. */
static bool begin_thread(struct draft *draft) {
	sigset_t all, before;
	sigfillset(&all);
	if (pthread_sigmask(SIG_SETMASK, &all, &before) != 0)
		return false;
	draft->running = pthread_create(&draft->thread, NULL, work, draft) == 0;
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	return draft->running;
}

static void begin_work(struct draft *draft, bool background) {
	atomic_store(&draft->done, false);
	if (!background || !begin_thread(draft))
		work(draft);
}

/* When it is done, or cancelled, there is no thread any more. */
static void end_work(struct draft *draft) {
	if (draft->running)
		(void)pthread_join(draft->thread, NULL);
	draft->running = false;
	free(draft->files);
	free(draft->names);
	draft->files = NULL;
	draft->names = NULL;
}

static int let_go(lua_State *L) {
	struct draft *draft = luaL_checkudata(L, 1, DRAFT_CLASS);
	atomic_store(&draft->cancelled, true);
	end_work(draft);
	s2sp_partner_table_free(draft->table);
	s2sp_config_free(draft->config);
	draft->table = NULL;
	draft->config = NULL;
	return 0;
}

void s2sp_lua_draft_class(lua_State *L) {
	static const luaL_Reg no_methods[] = { { NULL, NULL } };
	s2sp_lua_new_class(L, DRAFT_CLASS, no_methods, let_go);
}

/* The draft at 1, which nobody is at work on. */
static struct draft *check_draft(lua_State *L) {
	struct draft *draft = luaL_checkudata(L, 1, DRAFT_CLASS);
	luaL_argcheck(L, draft->config != NULL, 1, "a draft that has been taken");
	luaL_argcheck(L, !draft->running, 1, "a draft that is being worked on");
	return draft;
}

/* What is to be fed to. */
static struct s2sp_config *check_open(lua_State *L) {
	struct draft *draft = check_draft(L);
	luaL_argcheck(L, !draft->sealed, 1, "a draft that has been sealed");
	return draft->config;
}

static int begin_table(lua_State *L) {
	luaL_checktype(L, 1, LUA_TTABLE);
	lua_settop(L, 1);
	struct draft *draft = lua_newuserdatauv(L, sizeof(*draft), 0);
	*draft = (struct draft){ .status = S2SP_STATUS_OK };
	atomic_init(&draft->done, true);
	atomic_init(&draft->cancelled, false);
	luaL_setmetatable(L, DRAFT_CLASS);
	struct s2sp_config **config = s2sp_lua_new_config(L);
	draft->config = *config;
	*config = NULL; /* the draft has it */
	s2sp_lua_feed_local_domains(L, draft->config, 1);
	s2sp_lua_feed_issues(L, draft->config, 1);
	lua_settop(L, 2);
	return 1;
}

static int feed_issues(lua_State *L) {
	struct s2sp_config *config = check_open(L);
	luaL_checktype(L, 2, LUA_TTABLE);
	lua_settop(L, 2);
	lua_createtable(L, 0, 1);
	lua_insert(L, 2);
	lua_setfield(L, 2, "issues");
	s2sp_lua_feed_issues(L, config, 2);
	return 0;
}

static int feed_list(lua_State *L) {
	struct s2sp_config *config = check_open(L);
	size_t length;
	const char *place = luaL_checklstring(L, 2, &length);
	lua_settop(L, 3);
	struct s2sp_value value = s2sp_lua_value(L, 3);
	s2sp_lua_check_status(L, s2sp_config_begin_list(config, (struct s2sp_text){ place, length }, &value));
	s2sp_lua_feed(L, config, 3);
	return 0;
}

/* lists[at] = { place, path }: pushes both; false, with anything pushed, for what is not for the thread. */
static bool push_file(lua_State *L, lua_Integer at, struct s2sp_text *place, struct s2sp_text *path) {
	if (lua_rawgeti(L, 2, at) != LUA_TTABLE)
		return false;
	lua_getfield(L, -1, "place");
	lua_getfield(L, -2, "path");
	*place = s2sp_lua_text(L, -2);
	*path = s2sp_lua_text(L, -1);
	return place->bytes != NULL && path->bytes != NULL && memchr(path->bytes, '\0', path->length) == NULL;
}

/* Copies the names of what follows at `first`; returns without files when there are none. */
static void copy_files(lua_State *L, struct draft *draft, lua_Integer first) {
	struct s2sp_text place, path;
	size_t count = 0, size = 0;
	for (; push_file(L, first + (lua_Integer)count, &place, &path); lua_settop(L, 3), count++)
		size += place.length + path.length + 1;
	lua_settop(L, 3);
	end_work(draft); /* of the time before */
	draft->first = first;
	draft->count = draft->at = 0;
	draft->files = count == 0 ? NULL : calloc(count, sizeof(*draft->files));
	draft->names = count == 0 ? NULL : malloc(size);
	if (count > 0 && (draft->files == NULL || draft->names == NULL)) {
		end_work(draft);
		luaL_error(L, "not enough memory");
	}
	char *end = draft->names;
	for (; draft->count < count && push_file(L, first + (lua_Integer)draft->count, &place, &path); lua_settop(L, 3)) {
		struct file *file = &draft->files[draft->count++];
		file->place = (struct s2sp_text){ memcpy(end, place.bytes, place.length), place.length };
		end += place.length;
		file->path = memcpy(end, path.bytes, path.length + 1);
		end += path.length + 1;
	}
}

static int feed_files(lua_State *L) {
	(void)check_open(L);
	struct draft *draft = lua_touserdata(L, 1);
	luaL_checktype(L, 2, LUA_TTABLE);
	lua_Integer first = luaL_checkinteger(L, 3);
	bool background = lua_toboolean(L, 4);
	lua_settop(L, 3);
	copy_files(L, draft, first);
	if (draft->files != NULL)
		begin_work(draft, background);
	return 0;
}

/* A file of which a part has been fed is not in the table as it is written: nothing may come of the draft. */
static void check_fed(lua_State *L, const struct draft *draft) {
	if (!draft->sealed && draft->status != S2SP_STATUS_OK)
		luaL_error(L, draft->status == S2SP_STATUS_NO_MEMORY ? "not enough memory" : "a file of partners cannot be fed");
}

static int seal_table(lua_State *L) {
	(void)check_open(L);
	struct draft *draft = lua_touserdata(L, 1);
	end_work(draft);
	check_fed(L, draft);
	draft->sealed = true;
	begin_work(draft, lua_toboolean(L, 2));
	return 0;
}

static int draft_done(lua_State *L) {
	struct draft *draft = luaL_checkudata(L, 1, DRAFT_CLASS);
	if (!atomic_load(&draft->done))
		return 0;
	end_work(draft);
	check_fed(L, draft);
	lua_pushinteger(L, draft->first + (lua_Integer)draft->at);
	return 1;
}

static int take_table(lua_State *L) {
	struct draft *draft = check_draft(L);
	luaL_argcheck(L, draft->sealed, 1, "a draft that is not sealed");
	lua_settop(L, 1);
	struct s2sp_partner_table **table = s2sp_lua_new_table(L);
	*table = draft->table;
	draft->table = NULL;
	return s2sp_lua_give_back(L, &draft->config, draft->status, 2);
}

static int return_memory(lua_State *L) {
	(void)L;
#ifdef __GLIBC__
	malloc_trim(0);
#endif
	return 0;
}

const luaL_Reg s2sp_lua_draft_functions[] = {
	{ "begin_table", begin_table },     { "feed_issues", feed_issues },
	{ "feed_list", feed_list },         { "feed_files", feed_files },
	{ "seal_table", seal_table },       { "draft_done", draft_done },
	{ "take_table", take_table },       { "drop_draft", let_go },
	{ "return_memory", return_memory }, { NULL, NULL },
};

#include "handler.h"

#include "host_objects.h"
#include "question.h"
#include "refusal.h"

const struct s2sp_decision s2sp_no_record = { S2SP_VERDICT_REFUSE, S2SP_REASON_INTERNAL_ERROR,
											  "the stream has no record: it was opened while the module was not guarding" };

void s2sp_push_action(lua_State *L, const char *action) {
	s2sp_push_actions(L, ARG_GUARD, s2sp_lua_observing(L, ARG_GUARD));
	s2sp_lua_field(L, -1, action);
	lua_remove(L, -2);
}

int s2sp_act(lua_State *L, bool result, const char *action) {
	lua_pushboolean(L, result);
	s2sp_push_action(L, action);
	return 2;
}

int s2sp_act_refusal(lua_State *L, bool result, const char *action, int subject, enum s2sp_reason reason) {
	subject = lua_absindex(L, subject);
	int pushed = s2sp_act(L, result, action);
	lua_pushvalue(L, subject);
	lua_pushstring(L, s2sp_reason_row(reason)->token);
	return pushed + 2;
}

int s2sp_act_refuse(lua_State *L, bool result, int session, struct s2sp_decision decision, const char *condition) {
	return s2sp_act_close(L, result, "close", session, decision, condition);
}

int s2sp_act_close(lua_State *L, bool result, const char *action, int session, struct s2sp_decision decision,
				   const char *condition) {
	int pushed = s2sp_act_refusal(L, result, action, session, decision.reason);
	lua_pushstring(L, condition == NULL ? s2sp_reason_row(decision.reason)->stream_condition : condition);
	s2sp_lua_push_words(L, decision.rule);
	return pushed + 2;
}

int s2sp_act_dialback_error(lua_State *L, bool result, int session, int element, enum s2sp_reason reason) {
	element = lua_absindex(L, element);
	session = lua_absindex(L, session);
	s2sp_lua_field(L, element, "attr");
	bool answer = s2sp_lua_field(L, -1, "type") != LUA_TNIL;
	lua_pop(L, 2);
	if (answer)
		return s2sp_act_refusal(L, result, "drop_element", session, reason); /* an answer is not answered */
	struct s2sp_stanza_error error = s2sp_dialback_error(reason);
	int pushed = s2sp_act_refusal(L, result, "dialback_error", session, reason);
	lua_pushvalue(L, element);
	lua_pushstring(L, error.type);
	lua_pushstring(L, error.condition);
	return pushed + 3;
}

/* guard.observing, which needs neither memory nor protection to be read. */
static bool is_observing(lua_State *L) {
	return s2sp_observing(L, lua_upvalueindex(S2SP_UP_GUARD));
}

/*
 * Nothing passes: guard.internal_error(event, error, event name) closes and logs, and the event is stopped. While nothing is enforced it only tells, and the
 * event goes on.
 */
static int fail_closed(lua_State *L, const struct s2sp_handler *handler) {
	lua_insert(L, 2);
	lua_settop(L, 2); /* the event, the error */
	s2sp_push_actions(L, lua_upvalueindex(S2SP_UP_GUARD), is_observing(L));
	if (s2sp_lua_field(L, 3, "internal_error") == LUA_TFUNCTION) {
		lua_pushvalue(L, 1);
		lua_pushvalue(L, 2);
		lua_pushstring(L, handler->event);
		/* Nothing is left to try should this fail too. */
		(void)lua_pcall(L, 3, 0, 0);
	}
	lua_settop(L, 1);
	if (is_observing(L))
		return 0;
	lua_pushboolean(L, handler->stop);
	return 1;
}

static int handle(lua_State *L) {
	struct s2sp_here *here = lua_touserdata(L, lua_upvalueindex(S2SP_UP_HERE));
	const struct s2sp_handler *handler = here->handler;
	if (lua_gettop(L) != ARG_EVENT)
		lua_settop(L, ARG_EVENT);
	if (handler->fast_path != NULL && handler->fast_path(L, here))
		return 0;
	lua_settop(L, ARG_EVENT);
	lua_pushvalue(L, lua_upvalueindex(S2SP_UP_DECIDE));
	lua_pushvalue(L, ARG_EVENT);
	lua_pushvalue(L, lua_upvalueindex(S2SP_UP_GUARD));
	lua_pushvalue(L, lua_upvalueindex(S2SP_UP_HOST));
	if (lua_pcall(L, ARG_COUNT, LUA_MULTRET, 0) != LUA_OK)
		return fail_closed(L, handler);
	int results = lua_gettop(L) - 1;
	if (results == 0)
		return 0;
	/* What has been decided, told, but done by nobody: the event goes on. */
	bool observing = is_observing(L);
	if (results == 1)
		return observing ? 0 : 1;
	/* event, result, action, arguments */
	if (lua_pcall(L, results - 2, 0, 0) != LUA_OK)
		return fail_closed(L, handler);
	return observing ? 0 : 1;
}

/* A table on top of the stack stays, anything else gives way to an empty one. */
static void need_table(lua_State *L) {
	if (lua_istable(L, -1))
		return;
	lua_pop(L, 1);
	lua_newtable(L);
}

/* Pushes a handler with all its upvalues. `host` 0: of a global event. */
static void push_handler(lua_State *L, const struct s2sp_handler *handler, int guard, int host) {
	static const char *const of_guard[] = { "full_sessions", "bare_sessions", "answers" };
	luaL_checkstack(L, 2 * S2SP_KEY_COUNT + S2SP_UP_COUNT, NULL);
	s2sp_push_keys(L);
	lua_pushvalue(L, guard);
	if (host == 0)
		lua_pushboolean(L, false);
	else
		lua_pushvalue(L, host);
	struct s2sp_here *here = lua_newuserdatauv(L, sizeof(*here), 0);
	*here = (struct s2sp_here){ .handler = handler, .host = host == 0 ? (struct s2sp_text){ NULL, 0 } : s2sp_lua_text(L, host) };
	s2sp_push_keys(L);
	lua_pushcclosure(L, handler->decide, S2SP_KEY_COUNT);
	s2sp_push_keys(L);
	lua_pushcclosure(L, s2sp_lua_look_up_protected, S2SP_KEY_COUNT);
	s2sp_lua_field(L, guard, "hosts");
	if (host != 0 && lua_istable(L, -1)) {
		lua_pushvalue(L, host);
		lua_gettable(L, -2);
		lua_replace(L, -2);
	}
	here->accounts = s2sp_lua_field_is(L, -1, "type", "local");
	need_table(L);
	for (size_t i = 0; i < sizeof(of_guard) / sizeof(of_guard[0]); i++) {
		s2sp_lua_field(L, guard, of_guard[i]);
		need_table(L);
	}
	here->roles = s2sp_lua_field(L, guard, "roles_scanned") == LUA_TTABLE;
	lua_pushcclosure(L, handle, S2SP_UP_COUNT);
}

void s2sp_handlers_install(lua_State *L, const struct s2sp_handler *handlers, size_t count, int guard, int context, int host) {
	guard = lua_absindex(L, guard);
	context = lua_absindex(L, context);
	host = host == 0 ? 0 : lua_absindex(L, host);
	for (size_t i = 0; i < count; i++) {
		lua_getfield(L, context, "hook");
		lua_pushvalue(L, context);
		lua_pushstring(L, handlers[i].event);
		push_handler(L, &handlers[i], guard, host);
		lua_pushinteger(L, handlers[i].priority);
		lua_call(L, 4, 0);
	}
}

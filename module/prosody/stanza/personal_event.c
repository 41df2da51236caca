/*
 * Personal events (PEP, XEP-0163) in what leaves for a partner that may not have them: pushed in messages, given in answers to iqs,
 * listed. Which nodes are personal is core's to say. One pass over the children of the stanza and over theirs.
 */
#include "element_copy.h"
#include "question.h"

/* Top-level elements that nodes are named in. */
enum place {
	PLACE_NONE = 0,
	PLACE_EVENT,  /* XEP-0060 7.1.2: items, retractions, the end of a node */
	PLACE_PUBSUB, /* XEP-0060 6.5: items that were asked for */
	PLACE_NODES,  /* XEP-0030 4: the nodes of an account, or the items of one of them */
	PLACE_NODE,   /* XEP-0030 3: what a node is */
};

static struct s2sp_text attribute(lua_State *L, int element, enum s2sp_key key) {
	s2sp_raw(L, element, S2SP_KEY_ATTR);
	struct s2sp_text text = s2sp_raw_text(L, lua_gettop(L), key);
	lua_pop(L, 1);
	return text;
}

static enum place place_of(lua_State *L, int element, const struct s2sp_lua_question *question) {
	struct s2sp_text name = s2sp_raw_text(L, element, S2SP_KEY_NAME);
	bool answer = question->facts.kind == S2SP_STANZA_IQ_RESULT;
	if (!answer)
		return s2sp_text_equal(name, S2SP_TEXT("event")) && s2sp_text_equal(attribute(L, element, S2SP_KEY_XMLNS),
																			S2SP_TEXT("http://jabber.org/protocol/pubsub#event"))
				   ? PLACE_EVENT
				   : PLACE_NONE;
	struct s2sp_text xmlns = attribute(L, element, S2SP_KEY_XMLNS);
	if (s2sp_text_equal(name, S2SP_TEXT("pubsub")))
		return s2sp_text_equal(xmlns, S2SP_TEXT("http://jabber.org/protocol/pubsub")) ? PLACE_PUBSUB : PLACE_NONE;
	/* A client may list any nodes of its own (XEP-0115). The nodes of an account show where its user has published something. */
	bool account = question->parts.bare.length == question->local.length;
	if (!account || !s2sp_text_equal(name, S2SP_TEXT("query")))
		return PLACE_NONE;
	if (s2sp_text_equal(xmlns, S2SP_TEXT("http://jabber.org/protocol/disco#items")))
		return PLACE_NODES;
	return s2sp_text_equal(xmlns, S2SP_TEXT("http://jabber.org/protocol/disco#info")) ? PLACE_NODE : PLACE_NONE;
}

/* Whether the node of an element in such a place is a personal event. */
static bool is_personal(lua_State *L, int element, enum place place) {
	struct s2sp_text node = attribute(L, element, S2SP_KEY_NODE);
	switch (place) {
	case PLACE_EVENT: return s2sp_is_personal_event(node);
	case PLACE_PUBSUB:
		return s2sp_text_equal(s2sp_raw_text(L, element, S2SP_KEY_NAME), S2SP_TEXT("items")) && s2sp_is_personal_event(node);
	case PLACE_NODES: return node.length > 0 && s2sp_is_personal_event(node);
	case PLACE_NONE:
	case PLACE_NODE: break;
	}
	return false;
}

/* What one element at the top level holds. */
static enum s2sp_events held(lua_State *L, int element, enum place place) {
	int top = lua_gettop(L);
	bool personal = false, others = false;
	if (place == PLACE_NODES || place == PLACE_NODE) {
		struct s2sp_text node = attribute(L, element, S2SP_KEY_NODE);
		if (node.length > 0 && s2sp_is_personal_event(node))
			return S2SP_EVENTS_ALL;
		others = true; /* a list without anything in it is an answer as well */
	}
	lua_Integer count = (lua_Integer)lua_rawlen(L, element);
	for (lua_Integer i = 1; i <= count; i++) {
		if (lua_rawgeti(L, element, i) == LUA_TTABLE) {
			if (is_personal(L, top + 1, place))
				personal = true;
			else
				others = true;
		}
		lua_settop(L, top);
	}
	if (!personal)
		return S2SP_EVENTS_NONE;
	/* An answer of which something is kept back would say that there is something. */
	return others && place != PLACE_PUBSUB ? S2SP_EVENTS_SOME : S2SP_EVENTS_ALL;
}

enum s2sp_events s2sp_lua_events(lua_State *L, const struct s2sp_lua_question *question) {
	int top = lua_gettop(L), stanza = question->stanza;
	bool service = question->parts.bare.length == question->local.length;
	bool personal = false, others = false;
	if (!lua_checkstack(L, 8))
		return S2SP_EVENTS_ALL;
	lua_Integer count = (lua_Integer)lua_rawlen(L, stanza);
	for (lua_Integer i = 1; i <= count; i++) {
		if (lua_rawgeti(L, stanza, i) == LUA_TTABLE) {
			enum place place = place_of(L, top + 1, question);
			enum s2sp_events found = place == PLACE_NONE ? S2SP_EVENTS_NONE : held(L, top + 1, place);
			personal = personal || found != S2SP_EVENTS_NONE;
			/* What stands beside the events of a service goes with them: headers of delivery. A user's own words stay. */
			others = others || found == S2SP_EVENTS_SOME || (found == S2SP_EVENTS_NONE && place != PLACE_NONE) ||
					 (place == PLACE_NONE &&
					  (!service || s2sp_text_equal(s2sp_raw_text(L, top + 1, S2SP_KEY_NAME), S2SP_TEXT("body"))));
		}
		lua_settop(L, top);
	}
	bool answer = question->facts.kind == S2SP_STANZA_IQ_RESULT;
	if (!personal)
		return S2SP_EVENTS_NONE;
	return others && (!answer || service) ? S2SP_EVENTS_SOME : S2SP_EVENTS_ALL;
}

/* Pushes a copy of the element at the top level without what is personal in it. */
static void push_rest(lua_State *L, int element, enum place place) {
	int top = lua_gettop(L);
	struct s2sp_copy copy = { .at = top + 1, .tags = top + 2 };
	lua_settop(L, copy.tags);
	s2sp_copy_begin(L, &copy, element, 0);
	lua_Integer count = (lua_Integer)lua_rawlen(L, element);
	for (lua_Integer i = 1; i <= count; i++) {
		if (lua_rawgeti(L, element, i) != LUA_TTABLE || !is_personal(L, top + 3, place))
			s2sp_copy_append(L, &copy);
		lua_settop(L, copy.tags);
	}
	lua_settop(L, copy.at);
}

void s2sp_lua_push_without_events(lua_State *L, const struct s2sp_lua_question *question) {
	int top = lua_gettop(L), child = top + 3;
	struct s2sp_copy copy = { .at = top + 1, .tags = top + 2 };
	luaL_checkstack(L, 16, NULL);
	lua_settop(L, copy.tags);
	s2sp_copy_begin(L, &copy, question->stanza, 0);
	lua_Integer count = (lua_Integer)lua_rawlen(L, question->stanza);
	for (lua_Integer i = 1; i <= count; i++) {
		enum place place = lua_rawgeti(L, question->stanza, i) == LUA_TTABLE ? place_of(L, child, question) : PLACE_NONE;
		enum s2sp_events found = place == PLACE_NONE ? S2SP_EVENTS_NONE : held(L, child, place);
		if (found == S2SP_EVENTS_SOME)
			push_rest(L, child, place);
		if (found != S2SP_EVENTS_ALL)
			s2sp_copy_append(L, &copy);
		lua_settop(L, copy.tags);
	}
	lua_settop(L, copy.at);
}

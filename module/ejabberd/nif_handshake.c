/* Elements of handshakes, measured in the shape that fast_xml gives them: {xmlel, Name, Attributes, Children}. */
#include <string.h>

#include "nif.h"
#include "nif_functions.h"

struct element {
	struct s2sp_text name;
	ERL_NIF_TERM attributes, children;
};

static bool read_element(ErlNifEnv *env, ERL_NIF_TERM term, struct element *element) {
	const ERL_NIF_TERM *parts;
	int arity;
	if (!enif_get_tuple(env, term, &arity, &parts) || arity != 4 || parts[0] != s2sp_atoms.xmlel ||
		!s2sp_nif_text(env, parts[1], &element->name))
		return false;
	element->attributes = parts[2];
	element->children = parts[3];
	return true;
}

/* {Name, Value} */
static bool next_attribute(ErlNifEnv *env, ERL_NIF_TERM *list, struct s2sp_text *name, struct s2sp_text *value) {
	ERL_NIF_TERM head;
	const ERL_NIF_TERM *parts;
	int arity;
	return enif_get_list_cell(env, *list, &head, list) && enif_get_tuple(env, head, &arity, &parts) && arity == 2 &&
		   s2sp_nif_text(env, parts[0], name) && s2sp_nif_text(env, parts[1], value);
}

/* What the element itself says: its namespace, its type, and of its shape the addresses and the size of its attributes. */
struct head {
	struct s2sp_text xmlns, name;
	bool type;
	struct s2sp_handshake_shape shape;
};

static void read_attribute(struct head *head, struct s2sp_text prefix, struct s2sp_text name, struct s2sp_text value) {
	if (s2sp_text_equal(name, S2SP_TEXT("from")))
		head->shape.from = value;
	else if (s2sp_text_equal(name, S2SP_TEXT("to")))
		head->shape.to = value;
	else if (s2sp_text_equal(name, S2SP_TEXT("id")))
		head->shape.id = value;
	else if (s2sp_text_equal(name, S2SP_TEXT("type")))
		head->type = true;
	else if (prefix.length == 0 && s2sp_text_equal(name, S2SP_TEXT("xmlns")))
		head->xmlns = value;
	else if (prefix.length > 0 && name.length == prefix.length + 6 && memcmp(name.bytes, "xmlns:", 6) == 0 &&
			 memcmp(name.bytes + 6, prefix.bytes, prefix.length) == 0)
		head->xmlns = value;
}

/*
 * A name with a prefix stays as it was written, and where the stream's header has declared the prefix the element does not say what it
 * stands for: the library takes "db:" for dialback and "stream:" for streams, whatever the header says, and so does this.
 */
static void split_name(struct head *head, struct s2sp_text *prefix) {
	const char *colon = memchr(head->name.bytes, ':', head->name.length);
	if (head->name.length == 0 || colon == NULL)
		return;
	size_t length = (size_t)(colon - head->name.bytes);
	*prefix = (struct s2sp_text){ head->name.bytes, length };
	head->name = (struct s2sp_text){ colon + 1, head->name.length - length - 1 };
	if (s2sp_text_equal(*prefix, S2SP_TEXT("db")))
		head->xmlns = S2SP_TEXT("jabber:server:dialback");
	else if (s2sp_text_equal(*prefix, S2SP_TEXT("stream")))
		head->xmlns = S2SP_TEXT("http://etherx.jabber.org/streams");
}

static void read_head(ErlNifEnv *env, const struct element *element, struct head *head) {
	struct s2sp_text prefix = { NULL, 0 }, name, value;
	ERL_NIF_TERM list = element->attributes;
	*head = (struct head){ .name = element->name };
	split_name(head, &prefix);
	while (head->shape.attributes <= S2SP_HANDSHAKE_ATTRIBUTES_MAX && next_attribute(env, &list, &name, &value)) {
		head->shape.attributes += name.length + value.length;
		read_attribute(head, prefix, name, value);
	}
}

/* More of anything is out of shape whatever the element is, so that nobody need count on. */
enum { ELEMENTS_MEASURED = 1000 };

/* Recursion is as deep as the levels are, which has a bound. */
static void measure_inside(ErlNifEnv *env, ERL_NIF_TERM children, int level, struct s2sp_handshake_shape *shape) {
	ERL_NIF_TERM head;
	const ERL_NIF_TERM *parts;
	int arity;
	struct s2sp_text text;
	struct element element;
	for (size_t i = 0; shape->elements <= ELEMENTS_MEASURED && enif_get_list_cell(env, children, &head, &children); i++) {
		if (i > 2 * ELEMENTS_MEASURED) { /* the parser leaves few texts between two elements */
			shape->elements = SIZE_MAX;
		} else if (read_element(env, head, &element)) {
			shape->elements++;
			shape->children += level == 1;
			if (level < S2SP_HANDSHAKE_DEPTH_MAX)
				measure_inside(env, element.children, level + 1, shape);
			else
				shape->elements = SIZE_MAX;
		} else if (enif_get_tuple(env, head, &arity, &parts) && arity == 2 && parts[0] == s2sp_atoms.xmlcdata &&
				   s2sp_nif_text(env, parts[1], &text)) {
			shape->text += text.length;
		}
	}
}

/* Of the namespace of stanzas, or none. */
static bool is_of_streams(const struct head *head) {
	return head->xmlns.length == 0 || s2sp_text_equal(head->xmlns, S2SP_TEXT("jabber:server")) ||
		   s2sp_text_equal(head->xmlns, S2SP_TEXT("jabber:client"));
}

static bool is_stanza(const struct head *head) {
	return s2sp_text_equal(head->name, S2SP_TEXT("message")) || s2sp_text_equal(head->name, S2SP_TEXT("presence")) ||
		   s2sp_text_equal(head->name, S2SP_TEXT("iq"));
}

/* The domain of an address, as the library splits it. */
static struct s2sp_text domain_of(struct s2sp_text jid) {
	const char *slash = jid.length == 0 ? NULL : memchr(jid.bytes, '/', jid.length);
	size_t length = slash == NULL ? jid.length : (size_t)(slash - jid.bytes);
	const char *at = length == 0 ? NULL : memchr(jid.bytes, '@', length);
	if (at == NULL)
		return (struct s2sp_text){ jid.bytes, length };
	return (struct s2sp_text){ at + 1, length - (size_t)(at + 1 - jid.bytes) };
}

/* Whether the element is for the stream's own host, or names none. REFUSE ends the record. */
static struct s2sp_decision check_local(ErlNifEnv *env, struct s2sp_stream *record, ERL_NIF_TERM local, struct s2sp_text to) {
	struct s2sp_text host = { NULL, 0 };
	struct s2sp_domain own, other;
	s2sp_nif_text(env, local, &host);
	if (host.length == 0)
		return s2sp_stream_refuse(record, S2SP_REASON_WRONG_DOMAIN, "the stream does not say which host it is for");
	struct s2sp_text name = domain_of(to);
	if (to.length == 0 || s2sp_text_equal(name, host) ||
		(s2sp_nif_parse(name, &other) && s2sp_nif_domain(env, local, &own) && own.length == other.length &&
		 memcmp(own.bytes, other.bytes, own.length) == 0))
		return (struct s2sp_decision){ S2SP_VERDICT_ALLOW, S2SP_REASON_NONE, "an element for the stream's own host" };
	return s2sp_stream_refuse(record, S2SP_REASON_WRONG_DOMAIN, "a handshake element for another host than the stream's own");
}

/* What is no stanza: a row of the table, sent by the side that may, when it may, for this host, in the row's shape. */
NIF(s2sp_nif_stream_handshake) {
	struct s2sp_nif_stream *stream = s2sp_nif_get_stream(env, argv[0]);
	struct element element;
	struct head head;
	(void)argc;
	if (stream == NULL || !enif_is_binary(env, argv[1]) || !read_element(env, argv[2], &element))
		return enif_make_badarg(env);
	struct s2sp_stream *record = &stream->record;
	read_head(env, &element, &head);
	bool authenticated = record->stage >= S2SP_STAGE_AUTHENTICATED;
	if (is_of_streams(&head)) {
		/* Before authentication a stanza between a client and its server is one like any other, and the end. After it nobody is to
		 * look at who it says it is from. */
		bool between_servers = !s2sp_text_equal(head.xmlns, S2SP_TEXT("jabber:client"));
		if (is_stanza(&head) && (between_servers || !authenticated))
			return s2sp_atoms.stanza;
		return authenticated ? s2sp_atoms.idle : s2sp_nif_make_decision(env, s2sp_stream_premature(record));
	}
	if (record->stage == S2SP_STAGE_REFUSED)
		return s2sp_nif_make_decision(env, s2sp_stream_misplaced(record, NULL));
	const struct s2sp_handshake_row *row = s2sp_handshake_find(head.xmlns, head.name, head.type);
	if (row == NULL)
		return s2sp_nif_make_decision(env, s2sp_stream_misplaced(record, NULL));
	struct s2sp_decision decision = check_local(env, record, argv[1], head.shape.to);
	if (decision.verdict != S2SP_VERDICT_ALLOW)
		return s2sp_nif_make_decision(env, decision);
	enum s2sp_side side = record->direction == S2SP_INCOMING ? S2SP_SIDE_INITIATING : S2SP_SIDE_ACCEPTING;
	if (!s2sp_handshake_allowed(row, side, authenticated))
		return s2sp_nif_make_decision(env, s2sp_stream_misplaced(record, row));
	measure_inside(env, element.children, 1, &head.shape);
	enum s2sp_handshake_fault fault = s2sp_handshake_check(row, &head.shape);
	if (fault != S2SP_HANDSHAKE_FITS)
		return s2sp_nif_make_decision(env, s2sp_stream_misshapen(record, row, fault));
	return s2sp_handshake_idle(row, side, authenticated) ? s2sp_atoms.idle : s2sp_atoms.allow;
}

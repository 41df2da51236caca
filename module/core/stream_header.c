#include "stream_header.h"

#include "ascii.h"

enum { DOMAIN_MAX = 253, LABEL_MAX = 63 }; /* RFC 1035 2.3.4 */

/* What is left to be read. */
struct rest {
	const char *at, *end;
};

static bool skip(struct rest *rest, struct s2sp_text word) {
	if ((size_t)(rest->end - rest->at) < word.length || memcmp(rest->at, word.bytes, word.length) != 0)
		return false;
	rest->at += word.length;
	return true;
}

/* Returns whether there was any white space (XML 1.0 2.3). */
static bool skip_space(struct rest *rest) {
	const char *begin = rest->at;
	while (rest->at < rest->end && (*rest->at == ' ' || *rest->at == '\t' || *rest->at == '\r' || *rest->at == '\n'))
		rest->at++;
	return rest->at > begin;
}

/* A value in quotes, of printable ASCII without what XML would take for more than itself. */
static bool read_value(struct rest *rest, struct s2sp_text *value) {
	if (rest->at == rest->end || (*rest->at != '\'' && *rest->at != '"'))
		return false;
	char quote = *rest->at++;
	value->bytes = rest->at;
	for (; rest->at < rest->end && *rest->at != quote; rest->at++)
		if (*rest->at < ' ' || *rest->at > '~' || *rest->at == '<' || *rest->at == '&')
			return false;
	if (rest->at == rest->end)
		return false;
	value->length = (size_t)(rest->at++ - value->bytes);
	return true;
}

/* name = 'value'; false where that is not what comes. */
static bool read_attribute(struct rest *rest, struct s2sp_text *name, struct s2sp_text *value) {
	name->bytes = rest->at;
	while (rest->at < rest->end && (s2sp_ascii_is_ldh(*rest->at) || *rest->at == ':'))
		rest->at++;
	name->length = (size_t)(rest->at - name->bytes);
	skip_space(rest);
	if (name->length == 0 || !skip(rest, S2SP_TEXT("=")))
		return false;
	skip_space(rest);
	return read_value(rest, value);
}

static bool skip_declaration(struct rest *rest) {
	struct s2sp_text name, value;
	if (!skip(rest, S2SP_TEXT("<?xml")))
		return true; /* it may be left out */
	if (!skip_space(rest) || !read_attribute(rest, &name, &value) || !s2sp_text_equal(name, S2SP_TEXT("version")) ||
		!s2sp_text_equal(value, S2SP_TEXT("1.0")))
		return false;
	skip_space(rest);
	if (!skip(rest, S2SP_TEXT("?>")))
		return false;
	skip_space(rest);
	return true;
}

/* Labels of small letters, digits and hyphens, of which none is empty. */
static bool is_plain_domain(struct s2sp_text text) {
	size_t label = 0;
	if (text.length > DOMAIN_MAX)
		return false;
	for (size_t i = 0; i < text.length; i++) {
		char c = text.bytes[i];
		bool dot = c == '.';
		if (dot ? label == 0 : !s2sp_ascii_is_ldh(c) || s2sp_ascii_fold(c) != c)
			return false;
		label = dot ? 0 : label + 1;
		if (label > LABEL_MAX)
			return false;
	}
	return label > 0;
}

enum attribute { XMLNS, STREAM, DIALBACK, VERSION, TO, FROM, LANG, ID, ATTRIBUTES };

/* With the value an attribute must have, if there is only one. */
static const struct {
	struct s2sp_text name, value;
} known[ATTRIBUTES] = {
	[XMLNS] = { { "xmlns", 5 }, { "jabber:server", 13 } },
	[STREAM] = { { "xmlns:stream", 12 }, { "http://etherx.jabber.org/streams", 32 } },
	[DIALBACK] = { { "xmlns:db", 8 }, { "jabber:server:dialback", 22 } },
	[VERSION] = { { "version", 7 }, { "1.0", 3 } },
	[TO] = { { "to", 2 }, { NULL, 0 } },
	[FROM] = { { "from", 4 }, { NULL, 0 } },
	[LANG] = { { "xml:lang", 8 }, { NULL, 0 } },
	[ID] = { { "id", 2 }, { NULL, 0 } },
};

static enum attribute attribute_of(struct s2sp_text name) {
	int which = 0;
	while (which < ATTRIBUTES && !s2sp_text_equal(name, known[which].name))
		which++;
	return (enum attribute)which;
}

bool s2sp_stream_header_read(struct s2sp_text bytes, struct s2sp_stream_header *header) {
	struct rest rest = { bytes.bytes, bytes.bytes + bytes.length };
	struct s2sp_text values[ATTRIBUTES] = { { NULL, 0 } };
	unsigned seen = 0;
	if (bytes.length == 0 || !skip_declaration(&rest) || !skip(&rest, S2SP_TEXT("<stream:stream")))
		return false;
	while (skip_space(&rest)) {
		if (rest.at < rest.end && *rest.at == '>')
			break;
		struct s2sp_text name, value;
		if (!read_attribute(&rest, &name, &value))
			return false;
		enum attribute which = attribute_of(name);
		if (which == ATTRIBUTES || (seen & 1U << which) != 0)
			return false;
		if (known[which].value.bytes != NULL && !s2sp_text_equal(value, known[which].value))
			return false;
		seen |= 1U << which;
		values[which] = value;
	}
	const unsigned needed = 1U << XMLNS | 1U << STREAM | 1U << VERSION;
	if (!skip(&rest, S2SP_TEXT(">")) || (seen & needed) != needed)
		return false;
	if (!is_plain_domain(values[TO]) || !is_plain_domain(values[FROM]))
		return false;
	*header = (struct s2sp_stream_header){ values[FROM], values[TO] };
	return true;
}

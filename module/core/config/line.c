#include "line.h"

#define ELLIPSIS "..."

void s2sp_line_begin(struct s2sp_line *line) {
	line->length = 0;
	line->cut = false;
	line->bytes[0] = '\0';
}

struct s2sp_text s2sp_line_text(const struct s2sp_line *line) {
	return (struct s2sp_text){ line->bytes, line->length };
}

void s2sp_line_add_text(struct s2sp_line *line, struct s2sp_text text) {
	if (line->cut || text.length == 0)
		return;
	size_t room = S2SP_LINE_MAX - (sizeof(ELLIPSIS) - 1) - line->length;
	size_t length = text.length <= room ? text.length : room;
	line->cut = length < text.length;
	/* Not through the middle of a character. */
	while (line->cut && length > 0 && ((unsigned char)text.bytes[length] & 0xc0) == 0x80)
		length--;
	memcpy(line->bytes + line->length, text.bytes, length);
	line->length += length;
	if (line->cut) {
		memcpy(line->bytes + line->length, ELLIPSIS, sizeof(ELLIPSIS) - 1);
		line->length += sizeof(ELLIPSIS) - 1;
	}
	line->bytes[line->length] = '\0';
}

void s2sp_line_add(struct s2sp_line *line, const char *string) {
	s2sp_line_add_text(line, s2sp_text_from(string));
}

void s2sp_line_add_joint(struct s2sp_line *line, size_t index, size_t count, const char *last) {
	if (index > 0)
		s2sp_line_add(line, index + 1 == count ? last : ", ");
}

void s2sp_line_add_number(struct s2sp_line *line, uint64_t number) {
	char digits[20];
	size_t start = sizeof(digits);
	do {
		digits[--start] = (char)('0' + number % 10);
		number /= 10;
	} while (number > 0);
	s2sp_line_add_text(line, (struct s2sp_text){ digits + start, sizeof(digits) - start });
}

/* 0 <= number < 1e15, to six decimals, the last ones rounded and without zeros at the end. */
static void add_fixed(struct s2sp_line *line, double number) {
	uint64_t whole = (uint64_t)number;
	uint64_t millionths = (uint64_t)((number - (double)whole) * 1e6 + 0.5);
	if (millionths >= 1000000) {
		millionths -= 1000000;
		whole++;
	}
	s2sp_line_add_number(line, whole);
	if (millionths == 0)
		return;
	char digits[7] = ".";
	size_t length = 7;
	for (size_t i = 6; i > 0; i--, millionths /= 10)
		digits[i] = (char)('0' + millionths % 10);
	while (digits[length - 1] == '0')
		length--;
	s2sp_line_add_text(line, (struct s2sp_text){ digits, length });
}

void s2sp_line_add_double(struct s2sp_line *line, double number) {
	if (number != number) {
		s2sp_line_add(line, "nan");
		return;
	}
	if (number < 0) {
		s2sp_line_add(line, "-");
		number = -number;
	}
	if (number - number != 0) {
		s2sp_line_add(line, "inf");
	} else if (number == 0 || (number >= 1e-4 && number < 1e15)) {
		add_fixed(line, number);
	} else {
		unsigned exponent = 0;
		bool large = number >= 1;
		for (; large ? number >= 10 : number < 1; exponent++)
			number = large ? number / 10 : number * 10;
		add_fixed(line, number);
		s2sp_line_add(line, large ? "e+" : "e-");
		s2sp_line_add_number(line, exponent);
	}
}

size_t s2sp_utf8_character(struct s2sp_text text) {
	if (text.length == 0)
		return 0;
	const unsigned char *b = (const unsigned char *)text.bytes;
	if (b[0] < 0x80)
		return 1;
	size_t length = b[0] >= 0xc2 && b[0] <= 0xdf ? 2 : (b[0] & 0xf0) == 0xe0 ? 3 : b[0] >= 0xf0 && b[0] <= 0xf4 ? 4 : 0;
	if (length == 0 || text.length < length)
		return 0;
	for (size_t i = 1; i < length; i++) {
		if ((b[i] & 0xc0) != 0x80)
			return 0;
	}
	/* Overlong forms, surrogates, beyond U+10FFFF. */
	if ((b[0] == 0xe0 && b[1] < 0xa0) || (b[0] == 0xed && b[1] > 0x9f) || (b[0] == 0xf0 && b[1] < 0x90) ||
		(b[0] == 0xf4 && b[1] > 0x8f))
		return 0;
	return length;
}

bool s2sp_utf8_printable(struct s2sp_text text, size_t length) {
	const unsigned char *b = (const unsigned char *)text.bytes;
	if (length == 1)
		return b[0] >= 0x20 && b[0] != 0x7f;
	if (length == 2)
		return !(b[0] == 0xc2 && (b[1] < 0xa0 || b[1] == 0xad)); /* C1 controls, soft hyphen */
	if (length != 3)
		return length == 4;
	if (b[0] == 0xe2 && b[1] == 0x80)
		return !((b[2] >= 0x8b && b[2] <= 0x8f) || (b[2] >= 0xa8 && b[2] <= 0xae)); /* zero width, separators, bidi */
	if (b[0] == 0xe2 && b[1] == 0x81)
		return !(b[2] >= 0xa0 && b[2] <= 0xaf);             /* invisible operators, isolates */
	return !(b[0] == 0xef && b[1] == 0xbb && b[2] == 0xbf); /* byte order mark */
}

/* What stands for the character (or byte) at the start of `text`; *used bytes of it are dealt with. */
static size_t escape(struct s2sp_text text, bool quoted, char out[4], size_t *used) {
	static const char hex[] = "0123456789abcdef";
	size_t length = s2sp_utf8_character(text);
	if (length > 0 && s2sp_utf8_printable(text, length)) {
		char c = text.bytes[0];
		*used = length;
		if (quoted && (c == '"' || c == '\\')) {
			out[0] = '\\';
			out[1] = c;
			return 2;
		}
		memcpy(out, text.bytes, length);
		return length;
	}
	unsigned char byte = (unsigned char)text.bytes[0];
	*used = 1;
	out[0] = '\\';
	out[1] = 'x';
	out[2] = hex[byte >> 4];
	out[3] = hex[byte & 15];
	return 4;
}

/* Nothing to escape: what nearly every text of a configuration is, and each entry has several. */
static bool is_plain(struct s2sp_text text) {
	bool plain = true;
	for (size_t i = 0; i < text.length; i++) {
		char c = text.bytes[i];
		plain = plain && c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
	}
	return plain;
}

static void add_escaped(struct s2sp_line *line, struct s2sp_text text, size_t limit, bool quoted) {
	if (text.length <= limit && is_plain(text)) {
		s2sp_line_add_text(line, text);
		return;
	}
	char piece[4];
	size_t used, total = 0;
	/* Where to stop for the ellipsis is known only when the whole turns out too long. */
	for (size_t at = 0; at < text.length && total <= limit; at += used)
		total += escape((struct s2sp_text){ text.bytes + at, text.length - at }, quoted, piece, &used);
	bool cut = total > limit;
	size_t room = cut ? limit - (sizeof(ELLIPSIS) - 1) : limit;
	for (size_t at = 0; at < text.length; at += used) {
		size_t length = escape((struct s2sp_text){ text.bytes + at, text.length - at }, quoted, piece, &used);
		if (length > room)
			break;
		room -= length;
		s2sp_line_add_text(line, (struct s2sp_text){ piece, length });
	}
	if (cut)
		s2sp_line_add(line, ELLIPSIS);
}

void s2sp_line_add_escaped(struct s2sp_line *line, struct s2sp_text text, size_t limit) {
	add_escaped(line, text, limit, false);
}

void s2sp_line_add_quoted(struct s2sp_line *line, struct s2sp_text text) {
	s2sp_line_add(line, "\"");
	add_escaped(line, text, S2SP_QUOTED_MAX, true);
	s2sp_line_add(line, "\"");
}

/* One line of text for people, built on the stack. A text that does not fit is cut and ends in "...". */
#ifndef S2SP_LINE_H
#define S2SP_LINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "text.h"

#define S2SP_LINE_MAX 768
/* A quoted value is cut to this many bytes, quotes not counted. */
#define S2SP_QUOTED_MAX 60

struct s2sp_line {
	size_t length;
	bool cut;
	char bytes[S2SP_LINE_MAX + 1]; /* always NUL-terminated */
};

void s2sp_line_begin(struct s2sp_line *line);
struct s2sp_text s2sp_line_text(const struct s2sp_line *line);

void s2sp_line_add(struct s2sp_line *line, const char *string);
void s2sp_line_add_text(struct s2sp_line *line, struct s2sp_text text);
/*
 * Appends what separates item `index` of `count` items from the one before: nothing, ", ", or `last` (" or ", " and ") before the
 * last one.
 */
void s2sp_line_add_joint(struct s2sp_line *line, size_t index, size_t count, const char *last);
void s2sp_line_add_number(struct s2sp_line *line, uint64_t number);
/* As an administrator would write it: 20, 2.5, 1e+20, nan. */
void s2sp_line_add_double(struct s2sp_line *line, double number);

/*
 * Bytes that could break a log line or fool a terminal (controls, malformed UTF-8, invisible and direction-changing
 * characters) become \xNN; cut to `limit` bytes.
 */
void s2sp_line_add_escaped(struct s2sp_line *line, struct s2sp_text text, size_t limit);
/* The same in double quotes, S2SP_QUOTED_MAX long. */
void s2sp_line_add_quoted(struct s2sp_line *line, struct s2sp_text text);

/* Bytes of the well-formed UTF-8 character at the start of `text` (RFC 3629 4), 0 when there is none. */
size_t s2sp_utf8_character(struct s2sp_text text);
/* Whether that character prints as itself: no control, not invisible, does not change the direction of writing. */
bool s2sp_utf8_printable(struct s2sp_text text, size_t length);

#endif

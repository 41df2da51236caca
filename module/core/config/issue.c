#include "issue.h"

#include <string.h>

#include "line.h"

#define FIRST_CAPACITY 16

void s2sp_issues_begin(struct s2sp_issues *issues, const struct s2sp_allocator *allocator) {
	memset(issues, 0, sizeof(*issues));
	issues->allocator = *allocator;
}

void s2sp_issues_end(struct s2sp_issues *issues) {
	for (size_t i = 0; i < issues->count; i++)
		issues->allocator.reallocate(issues->allocator.owner, issues->items[i], 0);
	if (issues->items != NULL)
		issues->allocator.reallocate(issues->allocator.owner, issues->items, 0);
	issues->items = NULL;
	issues->count = issues->capacity = 0;
}

static char *append(char *at, struct s2sp_text text) {
	if (text.length > 0)
		memcpy(at, text.bytes, text.length);
	return at + text.length;
}

/* The text and its NUL at `*at`, which moves on. */
static const char *keep(char **at, struct s2sp_text text) {
	const char *start = *at;
	*at = append(*at, text);
	*(*at)++ = '\0';
	return start;
}

static size_t message_length(const struct s2sp_issue_parts *parts, struct s2sp_text nearest) {
	size_t length = parts->path.length + sizeof(": ") + parts->expected.length;
	if (parts->got.length > 0)
		length += sizeof("got ; ") + parts->got.length;
	if (nearest.length > 0)
		length += sizeof("; did you mean \"\"?") + nearest.length;
	return length;
}

static char *write_message(char *at, const struct s2sp_issue_parts *parts, struct s2sp_text nearest) {
	at = append(at, parts->path);
	at = append(at, S2SP_TEXT(": "));
	if (parts->got.length > 0) {
		at = append(at, S2SP_TEXT("got "));
		at = append(at, parts->got);
		at = append(at, S2SP_TEXT("; "));
	}
	at = append(at, parts->expected);
	if (nearest.length > 0) {
		at = append(at, S2SP_TEXT("; did you mean \""));
		at = append(at, nearest);
		at = append(at, S2SP_TEXT("\"?"));
	}
	*at = '\0';
	return at;
}

/* One block holds the issue and all its texts. */
static struct s2sp_issue *compose(struct s2sp_issues *issues, const struct s2sp_issue_parts *parts) {
	struct s2sp_text code = s2sp_text_from(parts->code), nearest = s2sp_text_from(parts->nearest);
	size_t texts = code.length + parts->path.length + parts->got.length + parts->expected.length + nearest.length + 5;
	size_t size = sizeof(struct s2sp_issue) + texts + message_length(parts, nearest) + 1;
	struct s2sp_issue *issue = issues->allocator.reallocate(issues->allocator.owner, NULL, size);
	if (issue == NULL)
		return NULL;
	char *at = (char *)(issue + 1);
	issue->severity = parts->severity;
	issue->code = keep(&at, code);
	issue->path = keep(&at, parts->path);
	issue->got = keep(&at, parts->got);
	issue->expected = keep(&at, parts->expected);
	issue->nearest = keep(&at, nearest);
	issue->message = at;
	write_message(at, parts, nearest);
	return issue;
}

static void tell_more(struct s2sp_issues *issues, enum s2sp_severity severity) {
	size_t more = issues->seen[severity] - S2SP_ISSUES_KEPT;
	struct s2sp_line line;
	s2sp_line_begin(&line);
	s2sp_line_add(&line, "and ");
	s2sp_line_add_number(&line, more);
	s2sp_line_add(&line, severity == S2SP_SEVERITY_ERROR ? " more error" : " more warning");
	s2sp_line_add(&line, more == 1 ? "" : "s");
	memcpy(issues->more_text[severity], line.bytes, line.length + 1);
	issues->more[severity] = (struct s2sp_issue){
		.severity = severity,
		.code = "more",
		.path = "",
		.got = "",
		.expected = issues->more_text[severity],
		.nearest = "",
		.message = issues->more_text[severity],
	};
}

static enum s2sp_status grow(struct s2sp_issues *issues) {
	size_t capacity = issues->capacity == 0 ? FIRST_CAPACITY : issues->capacity * 2;
	struct s2sp_issue **items = issues->allocator.reallocate(issues->allocator.owner, issues->items, capacity * sizeof(*items));
	if (items == NULL)
		return S2SP_STATUS_NO_MEMORY;
	issues->items = items;
	issues->capacity = capacity;
	return S2SP_STATUS_OK;
}

enum s2sp_status s2sp_issues_add(struct s2sp_issues *issues, const struct s2sp_issue_parts *parts) {
	if (issues->seen[parts->severity] >= S2SP_ISSUES_KEPT) {
		issues->seen[parts->severity]++;
		tell_more(issues, parts->severity);
		return S2SP_STATUS_OK;
	}
	if (issues->count == issues->capacity && grow(issues) != S2SP_STATUS_OK)
		return S2SP_STATUS_NO_MEMORY;
	struct s2sp_issue *issue = compose(issues, parts);
	if (issue == NULL)
		return S2SP_STATUS_NO_MEMORY;
	issues->items[issues->count++] = issue;
	issues->seen[parts->severity]++;
	return S2SP_STATUS_OK;
}

static bool has_more(const struct s2sp_issues *issues, enum s2sp_severity severity) {
	return issues->seen[severity] > S2SP_ISSUES_KEPT;
}

size_t s2sp_issues_count(const struct s2sp_issues *issues) {
	return issues->count + has_more(issues, S2SP_SEVERITY_ERROR) + has_more(issues, S2SP_SEVERITY_WARNING);
}

const struct s2sp_issue *s2sp_issues_at(const struct s2sp_issues *issues, size_t index) {
	if (index < issues->count)
		return issues->items[index];
	index -= issues->count;
	if (has_more(issues, S2SP_SEVERITY_ERROR) && index-- == 0)
		return &issues->more[S2SP_SEVERITY_ERROR];
	if (has_more(issues, S2SP_SEVERITY_WARNING) && index == 0)
		return &issues->more[S2SP_SEVERITY_WARNING];
	return NULL;
}

bool s2sp_issues_has_error(const struct s2sp_issues *issues) {
	return issues->seen[S2SP_SEVERITY_ERROR] > 0;
}

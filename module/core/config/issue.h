/* The list of everything there is to tell the administrator. */
#ifndef S2SP_ISSUE_H
#define S2SP_ISSUE_H

#include <stdbool.h>
#include <stddef.h>

#include "status.h"
#include "text.h"

enum s2sp_severity { S2SP_SEVERITY_ERROR = 0, S2SP_SEVERITY_WARNING };
#define S2SP_SEVERITIES 2

/* One thing to tell the administrator. All texts are NUL-terminated and owned by the list. */
struct s2sp_issue {
	enum s2sp_severity severity;
	const char *code;     /* stable word for scripts: "unknown-key", "duplicate-domain", ... */
	const char *path;     /* PLACE[2] ("fabrikam.com").tls */
	const char *got;      /* the value as written, quoted and shortened; "" when nothing was */
	const char *expected; /* what is allowed there, and the remedy */
	const char *nearest;  /* near-miss suggestion, "" when there is none */
	const char *message;  /* the whole, one line: PATH: got X; EXPECTED; did you mean "Y"? */
};

/* Of each severity this many are kept; what comes after is counted and told in one last issue of that severity. */
#define S2SP_ISSUES_KEPT 500

struct s2sp_issues {
	struct s2sp_allocator allocator;
	struct s2sp_issue **items;
	size_t count;
	size_t capacity;
	size_t seen[S2SP_SEVERITIES];
	struct s2sp_issue more[S2SP_SEVERITIES];
	char more_text[S2SP_SEVERITIES][64];
};

void s2sp_issues_begin(struct s2sp_issues *issues, const struct s2sp_allocator *allocator);
void s2sp_issues_end(struct s2sp_issues *issues);

/* What an issue is made of; all texts are copied, any may be empty. */
struct s2sp_issue_parts {
	enum s2sp_severity severity;
	const char *code;
	struct s2sp_text path;
	struct s2sp_text got;
	struct s2sp_text expected;
	const char *nearest; /* NULL: none */
};

/* Returns OK (also when the list is full and the issue only counted) or NO_MEMORY. */
enum s2sp_status s2sp_issues_add(struct s2sp_issues *issues, const struct s2sp_issue_parts *parts);

/* In the order they were added, then "and N more". */
size_t s2sp_issues_count(const struct s2sp_issues *issues);
/* NULL past the end. */
const struct s2sp_issue *s2sp_issues_at(const struct s2sp_issues *issues, size_t index);
bool s2sp_issues_has_error(const struct s2sp_issues *issues);

#endif

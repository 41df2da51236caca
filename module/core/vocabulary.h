/*
 * The words of a host. A text of the core names no option, command or syntax of a host: it has slots for them, and the
 * adapter's vocabulary fills the slots when the text is shown to an administrator.
 *
 *   {check}            the word of that name, see enum s2sp_word
 *   {tls = required}   a setting, written as the host's configuration writes it: tls = "required", or tls: required
 *
 * Only the core's own static texts have slots. What somebody else wrote is never searched for them.
 */
#ifndef S2SP_VOCABULARY_H
#define S2SP_VOCABULARY_H

#include <stdbool.h>

#include "line.h"

enum s2sp_word {
	/* The options, as an administrator finds them. */
	S2SP_WORD_OPTION_PARTNERS = 0,
	S2SP_WORD_OPTION_DEFAULT,
	S2SP_WORD_OPTION_LIMITS,
	S2SP_WORD_OPTION_EXTERNAL_ACCESS,
	/* Commands to run. */
	S2SP_WORD_CHECK,   /* judges the configuration on disk */
	S2SP_WORD_RELOAD,  /* applies it */
	S2SP_WORD_STREAMS, /* shows the live streams */
	S2SP_WORD_SHOW,    /* shows a partner */
	S2SP_WORD_TEST,    /* opens a stream to a partner */
	/* The host. */
	S2SP_WORD_HOST_CONSTRAINTS, /* its own options that take methods away */
	S2SP_WORD_HOST_ACCESS,      /* what keeps a local user from other servers; subject of "keeps" */
	S2SP_WORD_HOST_REINSTALL,   /* what to do when the shared object does not load */
	/* How a setting is written. */
	S2SP_WORD_SETTING_IS,    /* between a key and its value */
	S2SP_WORD_SETTING_QUOTE, /* around a word, may be empty */
	S2SP_WORD_MAPPING,       /* what holds keys and values, with its article */
	/* Samples and remedies in the host's syntax. */
	S2SP_WORD_SAMPLE_PARTNERS,
	S2SP_WORD_SAMPLE_PARTNER,
	S2SP_WORD_SAMPLE_DOMAINS,
	S2SP_WORD_SAMPLE_PINS,
	S2SP_WORD_SAMPLE_CRLS,
	S2SP_WORD_SAMPLE_LIST,
	S2SP_WORD_SAMPLE_LIMITS,
	S2SP_WORD_SAMPLE_ACCESS,
	S2SP_WORD_SAMPLE_USERS,
	S2SP_WORD_TOO_DEEP,   /* a list or mapping stands inside another where a key must be */
	S2SP_WORD_NOT_A_LIST, /* one partner stands where the list must be; what to do */
	S2SP_WORD_COUNT
};

/* One for each adapter, constant. The words are NUL-terminated and outlive whatever the vocabulary was given to. */
struct s2sp_vocabulary {
	const char *words[S2SP_WORD_COUNT];
};

/* Whether `text` has a slot, so that it has to be written with a vocabulary. */
bool s2sp_text_has_slot(const char *text);

/* Appends `text` to `line`, its slots filled. A slot of no word stays as it is. Allocates nothing. */
void s2sp_vocabulary_write(const struct s2sp_vocabulary *vocabulary, const char *text, struct s2sp_line *line);

/* The slot of the first word that `vocabulary` lacks ("option.default"), NULL when it is complete. For the adapter's own tests. */
const char *s2sp_vocabulary_lacks(const struct s2sp_vocabulary *vocabulary);

#endif

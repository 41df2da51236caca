#include "nearest.h"

#include <stdbool.h>
#include <stddef.h>

#include "ascii.h"

/* Longer than any word we know by more than the edits allowed. */
#define WORD_MAX 40
#define EDITS_MAX 2

static bool is_filler(char c) {
	return c == '-' || c == '_' || c == ' ';
}

static bool same_letters(struct s2sp_text a, struct s2sp_text b) {
	size_t i = 0, j = 0;
	for (;;) {
		while (i < a.length && is_filler(a.bytes[i]))
			i++;
		while (j < b.length && is_filler(b.bytes[j]))
			j++;
		if (i == a.length || j == b.length)
			return i == a.length && j == b.length;
		if (s2sp_ascii_fold(a.bytes[i++]) != s2sp_ascii_fold(b.bytes[j++]))
			return false;
	}
}

static size_t min(size_t a, size_t b) {
	return a < b ? a : b;
}

/* Optimal string alignment: Damerau-Levenshtein in which no part is edited twice. Case does not count. */
static size_t edits(struct s2sp_text a, struct s2sp_text b) {
	unsigned char rows[3][WORD_MAX + 1];
	unsigned char *before = rows[0], *last = rows[1], *now = rows[2];
	for (size_t j = 0; j <= b.length; j++)
		last[j] = (unsigned char)j;
	for (size_t i = 1; i <= a.length; i++) {
		char c = s2sp_ascii_fold(a.bytes[i - 1]);
		now[0] = (unsigned char)i;
		for (size_t j = 1; j <= b.length; j++) {
			char d = s2sp_ascii_fold(b.bytes[j - 1]);
			size_t best = min(min(last[j] + 1u, now[j - 1] + 1u), last[j - 1] + (c != d ? 1u : 0u));
			if (i > 1 && j > 1 && c == s2sp_ascii_fold(b.bytes[j - 2]) && d == s2sp_ascii_fold(a.bytes[i - 2]))
				best = min(best, before[j - 2] + 1u);
			now[j] = (unsigned char)best;
		}
		unsigned char *spare = before;
		before = last;
		last = now;
		now = spare;
	}
	return last[b.length];
}

const char *s2sp_nearest(struct s2sp_text text, const char *const *words) {
	const char *nearest = NULL;
	size_t fewest = EDITS_MAX + 1;
	if (text.length == 0 || text.length > WORD_MAX)
		return NULL;
	for (; *words != NULL; words++) {
		struct s2sp_text word = s2sp_text_from(*words);
		if (same_letters(text, word))
			return *words;
		if (word.length > WORD_MAX)
			continue;
		size_t distance = edits(text, word);
		/* Two edits make any three letters out of any other. */
		if (distance < fewest && distance <= min(text.length, word.length) / 2) {
			fewest = distance;
			nearest = *words;
		}
	}
	return nearest;
}

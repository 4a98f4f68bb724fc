/* suggest.c: "did you mean …?" */
#include "config/load.h"

#define WORD_MAX_BYTES 64U
#define ABBREVIATION_MIN_BYTES 3U

static char
lower(char byte)
{
	return byte >= 'A' && byte <= 'Z' ? (char)(byte - 'A' + 'a') : byte;
}

static size_t
least(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* Insertions, deletions, replacements and swaps of neighbours that turn a into b; the case of letters is ignored. */
static size_t
edit_distance(struct slice a, struct slice b)
{
	size_t rows[3][WORD_MAX_BYTES + 1];

	for (size_t j = 0; j <= b.length; j++)
		rows[0][j] = j;
	for (size_t i = 1; i <= a.length; i++) {
		size_t *row = rows[i % 3];
		const size_t *above = rows[(i + 2) % 3];
		const size_t *two_above = rows[(i + 1) % 3];

		row[0] = i;
		for (size_t j = 1; j <= b.length; j++) {
			char from = lower(a.data[i - 1]), to = lower(b.data[j - 1]);

			row[j] = least(least(above[j], row[j - 1]) + 1, above[j - 1] + (from != to ? 1 : 0));
			if (i > 1 && j > 1 && from == lower(b.data[j - 2]) && lower(a.data[i - 2]) == to)
				row[j] = least(row[j], two_above[j - 2] + 1);
		}
	}
	return rows[a.length % 3][b.length];
}

/* How far a typo may be from what was meant. */
static size_t
tolerance(size_t length)
{
	if (length <= 3)
		return 1;
	return length <= 8 ? 2 : 3;
}

void
suggestion_begin(struct suggestion *suggestion, struct slice word)
{
	suggestion->word = word;
	suggestion->best = SLICE_EMPTY;
	suggestion->distance = tolerance(word.length) + 1;
}

void
suggestion_consider(struct suggestion *suggestion, struct slice candidate)
{
	size_t distance;

	if (suggestion->word.length > WORD_MAX_BYTES || candidate.length > WORD_MAX_BYTES)
		return;
	distance = edit_distance(suggestion->word, candidate);
	/* "warn" for "warning" */
	if (suggestion->word.length >= ABBREVIATION_MIN_BYTES && slice_starts_with_nocase(candidate, suggestion->word))
		distance = distance > 1 ? 1 : distance;
	if (distance < suggestion->distance) {
		suggestion->best = candidate;
		suggestion->distance = distance;
	}
}

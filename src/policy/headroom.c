#include "policy/headroom.h"

#include "policy/hint.h"

#define BYTES_PER_TOKEN 4U
#define RATIO_UNIT 1024U
#define RATIO_MIN 64U   /* one token in 16 bytes */
#define RATIO_MAX 1024U /* one token a byte */
/* How much of a new observation goes into an average: an eighth. */
#define AVERAGE_SHIFT 3
/* A provisioned deployment drains in this time from 100 % to nothing, until its refusals have said otherwise: what they say
 * of so much above full (the last digit told is 10) is believed, and is half forgotten after so much waiting. Until then a
 * wait is foreseen that is no longer than this. */
#define DRAIN_MS 60000U
#define DRAIN_EXCESS_MIN 50U
#define DRAIN_WAIT_MAX_MS 20000U
#define DRAIN_FORESEEN_MS 500U
/* After a refusal's hint it is kept away from full as well, but it is not left alone for longer than this for it. */
#define DRAIN_SPARE_MAX_MS 150U
/* What a token fills is learned over so long at least (in a single answer the last digit told is too coarse) and at most,
 * and only above this utilisation: near the ground some of the time there was nothing to drain. */
#define LESSON_MIN_MS 500U
#define LESSON_MAX_MS 10000U
#define LESSON_MIN 1000U
#define FILL_SHIFT 20
/* Where a refusal says how long to wait. */
#define HINT_BITS \
	(HEADER_BIT(HEADER_RETRY_AFTER) | HEADER_BIT(HEADER_RETRY_AFTER_MS) | HEADER_BIT(HEADER_X_MS_RETRY_AFTER_MS))
/* In full_ms: nobody is refused, another deployment serves. */
#define FULL_SPILLED (UINT32_C(1) << 31)

/* Relaxed order throughout, as in state.c: each figure stands for itself. */
static uint64_t
read64(const _Atomic uint64_t *word)
{
	return atomic_load_explicit(word, memory_order_relaxed);
}

static void
write64(_Atomic uint64_t *word, uint64_t value)
{
	atomic_store_explicit(word, value, memory_order_relaxed);
}

static uint32_t
read32(const _Atomic uint32_t *word)
{
	return atomic_load_explicit(word, memory_order_relaxed);
}

static void
average(_Atomic uint32_t *word, uint32_t value)
{
	uint32_t before = read32(word);
	int64_t step = ((int64_t)value - (int64_t)before) / (1 << AVERAGE_SHIFT);

	atomic_store_explicit(word, before == 0 ? value : (uint32_t)((int64_t)before + step), memory_order_relaxed);
}

uint64_t
headroom_estimate(const struct headroom *room, uint64_t prompt_bytes, uint64_t output_tokens)
{
	uint32_t ratio = read32(&room->prompt_ratio);

	if (ratio == 0)
		ratio = RATIO_UNIT / BYTES_PER_TOKEN;
	if (output_tokens == 0)
		output_tokens = read32(&room->completion);
	return prompt_bytes * ratio / RATIO_UNIT + output_tokens;
}

/* What is left before end; less than nothing is nothing. */
static uint64_t
left(uint64_t end, uint64_t sent)
{
	return (int64_t)(end - sent) > 0 ? end - sent : 0;
}

bool
headroom_tokens_left(const struct headroom *room, uint64_t now_ms, uint64_t *out)
{
	if (now_ms >= read64(&room->tokens_until_ms))
		return false;
	*out = left(read64(&room->tokens_end), read64(&room->tokens_sent));
	return true;
}

bool
headroom_requests_left(const struct headroom *room, uint64_t now_ms, uint64_t *out)
{
	if (now_ms >= read64(&room->requests_until_ms))
		return false;
	*out = left(read64(&room->requests_end), read64(&room->requests_sent));
	return true;
}

bool
headroom_utilisation(const struct headroom *room, uint64_t now_ms, uint32_t *utilisation)
{
	uint64_t told_ms = read64(&room->utilisation_ms);

	if (told_ms == 0 || now_ms >= told_ms + HEADROOM_FRESH_MS || (read32(&room->full_ms) & FULL_SPILLED) != 0)
		return false;
	*utilisation = read32(&room->utilisation);
	return true;
}

/* Until when it is full, as a refusal or a spillover has said; not after now_ms: it is not. */
static uint64_t
full_until_ms(const struct headroom *room, uint64_t now_ms)
{
	uint64_t told_ms = read64(&room->utilisation_ms);

	if (now_ms >= told_ms + HEADROOM_FRESH_MS)
		return 0;
	return told_ms + (read32(&room->full_ms) & ~FULL_SPILLED);
}

bool
headroom_spills(const struct headroom *room, uint64_t now_ms)
{
	return (read32(&room->full_ms) & FULL_SPILLED) != 0 && full_until_ms(room, now_ms) > now_ms;
}

/* How fast it drains: excess in 1/10000 for every wait in ms. Returns whether that was learned. */
struct drain {
	uint64_t excess, wait_ms;
};

static bool
drain_of(const struct headroom *room, struct drain *out)
{
	*out = (struct drain){ read32(&room->drain_excess), read32(&room->drain_wait) };
	if (out->excess >= DRAIN_EXCESS_MIN && out->wait_ms > 0)
		return true;
	*out = (struct drain){ HEADROOM_FULL, DRAIN_MS };
	return false;
}

/* What drains in so long, in 1/10000. */
static uint64_t
drained(const struct headroom *room, uint64_t ms)
{
	struct drain drain;

	(void)drain_of(room, &drain);
	return ms * drain.excess / drain.wait_ms;
}

/* What was booked so far: all that was sent, less what turned out not to be used. */
static uint64_t
booked(const struct headroom *room)
{
	return read64(&room->tokens_sent) - read64(&room->tokens_unused);
}

/* How far above nearly full it is now, in 1/10000: it has drained since it was told, and more was sent. After a refusal that
 * is counted from when it was only nearly full, by its hint. 0: it is not. */
static uint64_t
overfull(const struct headroom *room, uint64_t now_ms)
{
	uint64_t told_ms = read64(&room->utilisation_ms), since, level;
	uint32_t utilisation, full_ms = read32(&room->full_ms);

	if (!headroom_utilisation(room, now_ms, &utilisation))
		return 0;
	if (full_ms != 0) {
		utilisation = HEADROOM_NEARLY_FULL;
		told_ms += full_ms;
	}
	since = left(booked(room), read64(&room->utilisation_mark));
	/* More than that in ten seconds is a mistake, and would not fit. */
	if (since > UINT32_MAX)
		since = UINT32_MAX;
	level = utilisation + (since * read32(&room->fill) >> FILL_SHIFT);
	return left(level, HEADROOM_NEARLY_FULL + drained(room, now_ms > told_ms ? now_ms - told_ms : 0));
}

bool
headroom_fits(const struct headroom *room, uint64_t tokens, uint64_t now_ms)
{
	uint64_t tokens_left;

	if (headroom_tokens_left(room, now_ms, &tokens_left) && tokens_left < tokens)
		return false;
	if (now_ms < read64(&room->requests_until_ms) &&
	    left(read64(&room->requests_end), read64(&room->requests_sent)) == 0)
		return false;
	return read64(&room->utilisation_ms) == 0 ||
	    (full_until_ms(room, now_ms) <= now_ms && overfull(room, now_ms) == 0);
}

/* When so much has drained. */
static uint64_t
drained_at_ms(const struct headroom *room, uint64_t over, uint64_t now_ms)
{
	struct drain drain;
	bool learned = drain_of(room, &drain);
	uint64_t wait_ms = over * drain.wait_ms / drain.excess + 1;

	return learned || wait_ms <= DRAIN_FORESEEN_MS ? now_ms + wait_ms : UINT64_MAX;
}

uint64_t
headroom_fits_at_ms(const struct headroom *room, uint64_t tokens, uint64_t now_ms)
{
	uint64_t tokens_left, at_ms = now_ms, full_ms = full_until_ms(room, now_ms), over;

	if (full_ms > now_ms && (read32(&room->full_ms) & FULL_SPILLED) == 0)
		at_ms = full_ms;
	over = overfull(room, at_ms);
	if (over > 0)
		at_ms = drained_at_ms(room, over, at_ms);
	if (headroom_tokens_left(room, now_ms, &tokens_left) && tokens_left < tokens &&
	    read64(&room->tokens_until_ms) > at_ms)
		at_ms = read64(&room->tokens_until_ms);
	if (left(read64(&room->requests_end), read64(&room->requests_sent)) == 0 &&
	    read64(&room->requests_until_ms) > at_ms)
		at_ms = read64(&room->requests_until_ms);
	return at_ms;
}

void
headroom_sent(struct headroom *room, uint64_t tokens, uint64_t now_ms, struct headroom_ticket *ticket)
{
	ticket->tokens = tokens == 0 ? 1 : tokens;
	ticket->tokens_mark =
	    atomic_fetch_add_explicit(&room->tokens_sent, ticket->tokens, memory_order_relaxed) + ticket->tokens;
	ticket->requests_mark = atomic_fetch_add_explicit(&room->requests_sent, 1, memory_order_relaxed) + 1;
	ticket->booked_mark = ticket->tokens_mark - read64(&room->tokens_unused);
	ticket->sent_ms = now_ms;
}

/* The fields that matter here, found in one pass: headers_find() would be one for each. */
struct news {
	const struct header *tokens, *tokens_reset, *requests, *requests_reset, *utilisation;
	bool spilled;
};

static void
find_news(const struct headers *headers, struct news *out)
{
	*out = (struct news){ .tokens = NULL };
	for (unsigned i = 0; i < headers->count; i++) {
		const struct header *header = &headers->items[i];

		if (header->id < HEADER_X_RATELIMIT_RESET_REQUESTS || header->id > HEADER_X_MS_SPILLOVER_FROM)
			continue;
		if (header->id == HEADER_X_RATELIMIT_REMAINING_TOKENS)
			out->tokens = header;
		else if (header->id == HEADER_X_RATELIMIT_REMAINING_REQUESTS)
			out->requests = header;
		else if (header->id == HEADER_X_RATELIMIT_RESET_TOKENS)
			out->tokens_reset = header;
		else if (header->id == HEADER_X_RATELIMIT_RESET_REQUESTS)
			out->requests_reset = header;
		else if (header->id == HEADER_DEPLOYMENT_UTILIZATION)
			out->utilisation = header;
		else
			out->spilled = true;
	}
}

/* What a refusal says of when there will be room. */
struct refusal {
	uint64_t until_ms; /* UINT64_MAX: it is none, or does not say */
	uint64_t exact_ms; /* how long to wait, where that is told in milliseconds; 0: it is not */
};

static struct refusal
find_refusal(const struct headers *headers, uint64_t now_ms, uint64_t max_ms)
{
	const struct hint_limits limits = { .default_ms = UINT32_MAX, .min_ms = 1, .max_ms = UINT32_MAX };
	struct hint hint;

	if (LIKELY((headers->ids & HINT_BITS) == 0))
		return (struct refusal){ UINT64_MAX, 0 };
	hint = hint_read(headers, SLICE_EMPTY, 0, &limits);
	if (hint.source != HINT_RETRY_AFTER_MS && hint.source != HINT_RETRY_AFTER)
		return (struct refusal){ UINT64_MAX, 0 };
	return (struct refusal){ now_ms + (hint.wait_ms < max_ms ? hint.wait_ms : max_ms),
		hint.source == HINT_RETRY_AFTER_MS && hint.wait_ms >= HINT_FLOOR_MS ? hint.wait_ms : 0 };
}

/* Until when a figure holds: its reset, within reason, which the backend has counted from the request's coming, not from
 * the head's, that may have had to wait for the whole answer. A reset of nothing or less is over. */
static uint64_t
holds_until(const struct header *reset, uint64_t sent_ms, uint64_t hint_ms, uint64_t max_ms)
{
	uint64_t wait_ms, until_ms;

	if (reset == NULL || !hint_duration_ms(reset->value, &wait_ms))
		wait_ms = HEADROOM_FRESH_MS;
	else if (wait_ms > max_ms)
		wait_ms = max_ms;
	until_ms = sent_ms + wait_ms;
	return until_ms < hint_ms ? until_ms : hint_ms;
}

/* "12.5%" or "12.5" as 1250; false for anything else. */
static bool
read_percent(struct slice text, uint32_t *out)
{
	uint64_t whole = 0, fraction = 0, unit = 100;
	size_t i = 0;

	for (; i < text.length && text.data[i] >= '0' && text.data[i] <= '9' && i < 6; i++)
		whole = whole * 10 + (uint64_t)(text.data[i] - '0');
	if (i == 0)
		return false;
	if (i < text.length && text.data[i] == '.')
		for (i++; i < text.length && text.data[i] >= '0' && text.data[i] <= '9'; i++) {
			unit /= 10;
			fraction += unit * (uint64_t)(text.data[i] - '0');
		}
	if (i < text.length && text.data[i] == '%')
		i++;
	if (i != text.length)
		return false;
	*out = (uint32_t)(whole * 100 + fraction);
	return true;
}

/* One of the two limits: news from an attempt older than the last news is old, unless that has run out. */
struct limit_words {
	_Atomic uint64_t *end, *mark, *until_ms;
};

static void
take_news(struct limit_words words, uint64_t mark, uint64_t remaining, uint64_t until_ms, uint64_t now_ms)
{
	uint64_t known_until_ms = read64(words.until_ms);

	if (now_ms < known_until_ms && (int64_t)(mark - read64(words.mark)) < 0)
		return;
	write64(words.mark, mark);
	write64(words.end, mark + remaining);
	/* Resets come in whole seconds, rounded up: of several that tell of the same moment the earliest is the nearest. */
	if (now_ms < known_until_ms && until_ms > known_until_ms && until_ms - known_until_ms < 1000)
		return;
	write64(words.until_ms, until_ms);
}

/* How much fuller it would be by now than at the lesson's start, had nothing drained, is what was booked since. */
static void
learn_fill(struct headroom *room, const struct headroom_ticket *ticket, uint32_t utilisation)
{
	uint32_t start = read32(&room->lesson);
	uint32_t passed_ms = (uint32_t)ticket->sent_ms - read32(&room->lesson_ms);
	uint32_t tokens = (uint32_t)ticket->booked_mark - read32(&room->lesson_mark);
	uint64_t filled = left(utilisation + drained(room, passed_ms), start);

	if (start != 0 && passed_ms < LESSON_MIN_MS)
		return;
	if (start >= LESSON_MIN && utilisation >= LESSON_MIN && passed_ms <= LESSON_MAX_MS && tokens > 0 &&
	    tokens <= INT32_MAX && filled > 0 && (filled << FILL_SHIFT) / tokens <= UINT32_MAX)
		average(&room->fill, (uint32_t)((filled << FILL_SHIFT) / tokens));
	atomic_store_explicit(&room->lesson_ms, (uint32_t)ticket->sent_ms, memory_order_relaxed);
	atomic_store_explicit(&room->lesson_mark, (uint32_t)ticket->booked_mark, memory_order_relaxed);
	atomic_store_explicit(&room->lesson, utilisation, memory_order_relaxed);
}

/* A refusal says how far above full it is, and when it will not be. */
static void
learn_drain(struct headroom *room, uint32_t utilisation, uint64_t told_ms)
{
	uint32_t excess = read32(&room->drain_excess), wait_ms = read32(&room->drain_wait);

	if (told_ms == 0 || told_ms > DRAIN_WAIT_MAX_MS || utilisation > 100 * HEADROOM_FULL)
		return;
	if (wait_ms > DRAIN_WAIT_MAX_MS || excess > 100 * HEADROOM_FULL) {
		excess /= 2;
		wait_ms /= 2;
	}
	atomic_store_explicit(&room->drain_excess, excess + utilisation - HEADROOM_FULL, memory_order_relaxed);
	atomic_store_explicit(&room->drain_wait, wait_ms + (uint32_t)told_ms, memory_order_relaxed);
}

/* full_ms: see struct headroom. False when younger news is there. */
static bool
take_utilisation(struct headroom *room, const struct headroom_ticket *ticket, uint32_t utilisation, uint32_t full_ms)
{
	if (ticket->sent_ms < read64(&room->utilisation_ms))
		return false;
	atomic_store_explicit(&room->utilisation, utilisation, memory_order_relaxed);
	atomic_store_explicit(&room->full_ms, full_ms, memory_order_relaxed);
	write64(&room->utilisation_mark, ticket->booked_mark);
	write64(&room->utilisation_ms, ticket->sent_ms);
	return true;
}

/* How long after sent_ms, in full_ms's bits. */
static uint32_t
span_ms(uint64_t sent_ms, uint64_t until_ms)
{
	uint64_t span = until_ms > sent_ms ? until_ms - sent_ms : 0;

	return span < FULL_SPILLED ? (uint32_t)span : FULL_SPILLED - 1;
}

/* When it is only nearly full, of one that is full until then. */
static uint64_t
nearly_full_ms(const struct headroom *room, uint64_t until_ms)
{
	uint64_t more_ms;
	struct drain drain;

	if (!drain_of(room, &drain))
		return until_ms;
	more_ms = (HEADROOM_FULL - HEADROOM_NEARLY_FULL) * drain.wait_ms / drain.excess;
	return until_ms + (more_ms < DRAIN_SPARE_MAX_MS ? more_ms : DRAIN_SPARE_MAX_MS);
}

/* What another deployment's quota has paid for says nothing about this one's, but that it is full. */
static void
take_spillover(struct headroom *room, struct headroom_ticket *ticket, uint64_t now_ms)
{
	(void)take_utilisation(room, ticket, HEADROOM_FULL,
	    span_ms(ticket->sent_ms, now_ms + HEADROOM_SPILLED_MS) | FULL_SPILLED);
	headroom_give_back(room, ticket);
}

bool
headroom_told(struct headroom *room, struct headroom_ticket *ticket, const struct headers *headers, uint64_t now_ms,
    uint64_t max_ms)
{
	struct news news;
	struct refusal refusal;
	uint64_t remaining;
	uint32_t percent;

	find_news(headers, &news);
	if (UNLIKELY(news.spilled)) {
		take_spillover(room, ticket, now_ms);
		return true;
	}
	refusal = find_refusal(headers, now_ms, max_ms);
	/* -1 and words are no numbers: unknown. */
	if (news.tokens != NULL && slice_to_u64(news.tokens->value, &remaining) && remaining < INT64_MAX)
		take_news((struct limit_words){ &room->tokens_end, &room->tokens_mark, &room->tokens_until_ms },
		    ticket->tokens_mark, remaining,
		    holds_until(news.tokens_reset, ticket->sent_ms, refusal.until_ms, max_ms), now_ms);
	if (news.requests != NULL && slice_to_u64(news.requests->value, &remaining) && remaining < INT64_MAX)
		take_news((struct limit_words){ &room->requests_end, &room->requests_mark, &room->requests_until_ms },
		    ticket->requests_mark, remaining,
		    holds_until(news.requests_reset, ticket->sent_ms, refusal.until_ms, max_ms), now_ms);
	if (news.utilisation != NULL && read_percent(news.utilisation->value, &percent)) {
		bool refused = percent >= HEADROOM_FULL && refusal.until_ms != UINT64_MAX;

		if (refused)
			learn_drain(room, percent, refusal.exact_ms);
		if (take_utilisation(room, ticket, percent,
			refused ? span_ms(ticket->sent_ms, nearly_full_ms(room, refusal.until_ms)) : 0))
			learn_fill(room, ticket, percent);
	}
	return false;
}

/* The request was counted as so many tokens, not as estimated. The difference is one of two's complement: less than
 * estimated moves the end back, as more moves it on. */
static void
settle(struct headroom *room, struct headroom_ticket *ticket, uint64_t tokens)
{
	uint64_t unused = ticket->tokens - tokens;

	if (ticket->tokens == 0)
		return;
	atomic_fetch_add_explicit(&room->tokens_unused, unused, memory_order_relaxed);
	/* News that is younger than the attempt has put it right already. */
	if ((int64_t)(ticket->tokens_mark - read64(&room->tokens_mark)) > 0)
		atomic_fetch_add_explicit(&room->tokens_end, unused, memory_order_relaxed);
	ticket->tokens = 0;
}

void
headroom_give_back(struct headroom *room, struct headroom_ticket *ticket)
{
	/* A refusal that told a utilisation has not been part of it. */
	if (ticket->tokens != 0 && read64(&room->utilisation_mark) == ticket->booked_mark)
		write64(&room->utilisation_mark, ticket->booked_mark - ticket->tokens);
	if (ticket->tokens != 0 && read32(&room->lesson_mark) == (uint32_t)ticket->booked_mark)
		atomic_store_explicit(&room->lesson_mark, (uint32_t)(ticket->booked_mark - ticket->tokens),
		    memory_order_relaxed);
	settle(room, ticket, 0);
}

void
headroom_correct(struct headroom *room, struct headroom_ticket *ticket, uint64_t tokens)
{
	settle(room, ticket, tokens);
}

void
headroom_learn(struct headroom *room, uint64_t prompt_bytes, uint64_t prompt_tokens, uint64_t completion_tokens)
{
	if (prompt_bytes > 0 && prompt_tokens > 0 && prompt_tokens < UINT32_MAX) {
		uint64_t ratio = prompt_tokens * RATIO_UNIT / prompt_bytes;

		average(&room->prompt_ratio,
		    (uint32_t)(ratio < RATIO_MIN ? RATIO_MIN
			    : ratio > RATIO_MAX  ? RATIO_MAX
						 : ratio));
	}
	if (completion_tokens > 0 && completion_tokens < UINT32_MAX)
		average(&room->completion, (uint32_t)completion_tokens);
}

#include "policy/hint.h"

#include "base/compiler.h"

#define MS_PER_SECOND 1000U
#define MS_PER_MINUTE 60000U
#define MS_PER_HOUR 3600000U
#define MS_PER_DAY 86400000U

/* What one place says. Zero and less are kept apart from absent: they count, but only if nobody says more. */
struct reading {
	enum { READING_ABSENT, READING_ZERO, READING_POSITIVE } kind;
	uint64_t ms;
};

static const struct reading absent = { READING_ABSENT, 0 };
static const struct reading zero = { READING_ZERO, 0 };

static struct reading
reading_of(bool negative, uint64_t ms)
{
	return negative || ms == 0 ? zero : (struct reading){ READING_POSITIVE, ms };
}

static uint64_t
add_saturating(uint64_t a, uint64_t b)
{
	return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

static uint64_t
multiply_saturating(uint64_t a, uint64_t b)
{
	return b != 0 && a > UINT64_MAX / b ? UINT64_MAX : a * b;
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* ---- decimal numbers -------------------------------------------------------------------------------------------- */

#define MILLIONTHS 1000000U

struct decimal {
	bool negative;
	uint64_t whole;      /* saturates */
	uint64_t millionths; /* rounded up; may be a whole one */
};

/* Takes "-12.5", "12.", ".5" from the front of *text: a sign, digits, a point, and nothing of what strtod() adds to them
 * (hex, exponents, inf, nan, the locale's comma). */
static bool
decimal_take(struct slice *text, struct decimal *out)
{
	struct slice rest = *text;
	size_t digits = 0;

	*out = (struct decimal){ 0 };
	if (rest.length > 0 && rest.data[0] == '-') {
		out->negative = true;
		rest = slice_skip(rest, 1);
	}
	for (; rest.length > 0 && is_digit(rest.data[0]); rest = slice_skip(rest, 1), digits++)
		out->whole = add_saturating(multiply_saturating(out->whole, 10), (uint64_t)(rest.data[0] - '0'));
	if (rest.length > 0 && rest.data[0] == '.') {
		uint64_t place = MILLIONTHS;
		bool beyond = false;

		rest = slice_skip(rest, 1);
		for (; rest.length > 0 && is_digit(rest.data[0]); rest = slice_skip(rest, 1), digits++) {
			place /= 10;
			out->millionths += place * (uint64_t)(rest.data[0] - '0');
			beyond |= place == 0 && rest.data[0] != '0';
		}
		out->millionths += beyond;
	}
	if (digits == 0)
		return false;
	*text = rest;
	return true;
}

/* Rounded up: who comes back a fraction too early is throttled again. */
static uint64_t
decimal_to_ms(const struct decimal *number, uint64_t unit_ms)
{
	uint64_t fraction = (number->millionths * unit_ms + MILLIONTHS - 1) / MILLIONTHS;

	return add_saturating(multiply_saturating(number->whole, unit_ms), fraction);
}

/* A value that is one decimal number, in units of unit_ms. */
static struct reading
read_decimal(struct slice value, uint64_t unit_ms)
{
	struct decimal number;

	value = slice_trim(value);
	if (!decimal_take(&value, &number) || value.length > 0)
		return absent;
	return reading_of(number.negative, decimal_to_ms(&number, unit_ms));
}

/* ---- dates (RFC 9110, 5.6.7) ------------------------------------------------------------------------------------ */

struct date {
	int64_t year;
	unsigned month; /* 1 to 12 */
	unsigned day;
	unsigned hour, minute, second;
};

static bool
take_literal(struct slice *text, const char *literal)
{
	struct slice prefix = slice_from(literal);

	if (!slice_starts_with(*text, prefix))
		return false;
	*text = slice_skip(*text, prefix.length);
	return true;
}

static bool
take_digits(struct slice *text, size_t count, unsigned *value)
{
	unsigned total = 0;

	if (text->length < count)
		return false;
	for (size_t i = 0; i < count; i++) {
		if (!is_digit(text->data[i]))
			return false;
		total = total * 10 + (unsigned)(text->data[i] - '0');
	}
	*text = slice_skip(*text, count);
	*value = total;
	return true;
}

/* One of the names; *index says which. */
static bool
take_name(struct slice *text, const char *const *names, size_t count, unsigned *index)
{
	for (size_t i = 0; i < count; i++) {
		if (take_literal(text, names[i])) {
			*index = (unsigned)i;
			return true;
		}
	}
	return false;
}

static bool
take_month(struct slice *text, unsigned *month)
{
	static const char *const months[] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct",
		"Nov", "Dec" };

	if (!take_name(text, months, ARRAY_COUNT(months), month))
		return false;
	*month += 1;
	return true;
}

/* The day's name; *is_long when it was spelled out. It is not checked against the date: it says nothing new. */
static bool
take_weekday(struct slice *text, bool *is_long)
{
	static const char *const long_names[] = { "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday",
		"Sunday" };
	static const char *const short_names[] = { "Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun" };
	unsigned ignored;

	*is_long = take_name(text, long_names, ARRAY_COUNT(long_names), &ignored);
	return *is_long || take_name(text, short_names, ARRAY_COUNT(short_names), &ignored);
}

static bool
take_time_of_day(struct slice *text, struct date *date)
{
	return take_digits(text, 2, &date->hour) && take_literal(text, ":") && take_digits(text, 2, &date->minute) &&
	    take_literal(text, ":") && take_digits(text, 2, &date->second);
}

/* Days since 1970-01-01 in the Gregorian calendar, counting years from March so that the leap day comes last. */
static int64_t
days_from_date(const struct date *date)
{
	int64_t year = date->month <= 2 ? date->year - 1 : date->year;
	int64_t month = date->month <= 2 ? date->month + 9 : date->month - 3;
	int64_t era = (year >= 0 ? year : year - 399) / 400;
	int64_t year_of_era = year - era * 400;
	int64_t day_of_year = (153 * month + 2) / 5 + date->day - 1;

	return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719468;
}

static bool
date_to_unix_ms(const struct date *date, int64_t *unix_ms)
{
	if (date->month < 1 || date->month > 12 || date->day < 1 || date->day > 31 || date->hour > 23 ||
	    date->minute > 59 || date->second > 60)
		return false;
	*unix_ms = days_from_date(date) * MS_PER_DAY + (int64_t)date->hour * MS_PER_HOUR +
	    (int64_t)date->minute * MS_PER_MINUTE + (int64_t)date->second * MS_PER_SECOND;
	return true;
}

/* "Sun, 06 Nov 1994 08:49:37 GMT", behind the comma. */
static bool
take_fixdate(struct slice *text, struct date *date)
{
	unsigned year;

	if (!take_literal(text, " ") || !take_digits(text, 2, &date->day) || !take_literal(text, " ") ||
	    !take_month(text, &date->month) || !take_literal(text, " ") || !take_digits(text, 4, &year) ||
	    !take_literal(text, " ") || !take_time_of_day(text, date) || !take_literal(text, " GMT"))
		return false;
	date->year = year;
	return true;
}

/* "Sunday, 06-Nov-94 08:49:37 GMT", behind the comma. *short_year is to be read as RFC 9110 says: see read_date(). */
static bool
take_rfc850_date(struct slice *text, struct date *date)
{
	unsigned year;

	if (!take_literal(text, " ") || !take_digits(text, 2, &date->day) || !take_literal(text, "-") ||
	    !take_month(text, &date->month) || !take_literal(text, "-") || !take_digits(text, 2, &year) ||
	    !take_literal(text, " ") || !take_time_of_day(text, date) || !take_literal(text, " GMT"))
		return false;
	date->year = 2000 + (int64_t)year;
	return true;
}

/* "Sun Nov  6 08:49:37 1994", behind the weekday. */
static bool
take_asctime_date(struct slice *text, struct date *date)
{
	unsigned year;

	if (!take_literal(text, " ") || !take_month(text, &date->month) || !take_literal(text, " "))
		return false;
	if (take_literal(text, " ") ? !take_digits(text, 1, &date->day) : !take_digits(text, 2, &date->day))
		return false;
	if (!take_literal(text, " ") || !take_time_of_day(text, date) || !take_literal(text, " ") ||
	    !take_digits(text, 4, &year))
		return false;
	date->year = year;
	return true;
}

#define FIFTY_YEARS_MS (INT64_C(50) * 36525 * (MS_PER_DAY / 100))

static struct reading
read_date(struct slice value, int64_t now_unix_ms)
{
	struct slice text = slice_trim(value);
	struct date date = { 0 };
	bool is_long, taken;
	int64_t unix_ms;

	if (!take_weekday(&text, &is_long))
		return absent;
	if (!take_literal(&text, ","))
		taken = !is_long && take_asctime_date(&text, &date);
	else
		taken = is_long ? take_rfc850_date(&text, &date) : take_fixdate(&text, &date);
	if (!taken || text.length > 0 || !date_to_unix_ms(&date, &unix_ms))
		return absent;
	if (unix_ms <= now_unix_ms)
		return zero;

	/* Unsigned, so that a clock far off cannot overflow. */
	uint64_t ahead_ms = (uint64_t)unix_ms - (uint64_t)now_unix_ms;
	/* Two digits of a year that seem more than fifty years ahead mean the last such year (RFC 9110, 5.6.7). */
	if (is_long && ahead_ms > (uint64_t)FIFTY_YEARS_MS)
		return zero;
	return reading_of(false, ahead_ms);
}

/* ---- durations: "4", "4s", "400ms", "1m30s" --------------------------------------------------------------------- */

static bool
take_unit(struct slice *text, uint64_t *unit_ms)
{
	/* "ms" before "m". */
	static const struct {
		const char *name;
		uint64_t ms;
	} units[] = {
		{ "ms", 1 },
		{ "s", MS_PER_SECOND },
		{ "m", MS_PER_MINUTE },
		{ "h", MS_PER_HOUR },
		{ "d", MS_PER_DAY },
	};

	for (size_t i = 0; i < ARRAY_COUNT(units); i++) {
		if (take_literal(text, units[i].name)) {
			*unit_ms = units[i].ms;
			return true;
		}
	}
	return false;
}

static struct reading
read_duration(struct slice value)
{
	struct slice text = slice_trim(value);
	struct reading seconds = read_decimal(text, MS_PER_SECOND);
	struct decimal number;
	uint64_t unit_ms, total_ms = 0;
	bool negative = false;

	if (seconds.kind != READING_ABSENT)
		return seconds;
	if (text.length == 0)
		return absent;
	for (bool first = true; text.length > 0; first = false) {
		if (!decimal_take(&text, &number) || !take_unit(&text, &unit_ms) || (number.negative && !first))
			return absent;
		negative |= number.negative;
		total_ms = add_saturating(total_ms, decimal_to_ms(&number, unit_ms));
	}
	return reading_of(negative, total_ms);
}

/* ---- the places ------------------------------------------------------------------------------------------------- */

/* The better of two equals in precedence: the first positive one, else the first zero. */
static struct reading
prefer(struct reading first, struct reading second)
{
	if (first.kind == READING_POSITIVE || second.kind == READING_ABSENT)
		return first;
	return second.kind == READING_POSITIVE || first.kind == READING_ABSENT ? second : first;
}

/* READING_ABSENT is shorter than READING_ZERO. */
static bool
is_longer(struct reading a, struct reading b)
{
	return a.kind > b.kind || (a.kind == b.kind && a.ms > b.ms);
}

static struct reading
longer(struct reading a, struct reading b)
{
	return is_longer(b, a) ? b : a;
}

static struct reading
read_retry_after(struct slice value, int64_t now_unix_ms)
{
	struct reading seconds = read_decimal(value, MS_PER_SECOND);

	return seconds.kind != READING_ABSENT ? seconds : read_date(value, now_unix_ms);
}

/* A unit in words. What follows it is not looked at, so that the plural and "seconds." pass as well. */
static bool
starts_with_unit_word(struct slice text, uint64_t *unit_ms)
{
	static const struct {
		const char *word;
		uint64_t ms;
	} units[] = {
		{ "second", MS_PER_SECOND },
		{ "millisecond", 1 },
		{ "ms", 1 },
		{ "minute", MS_PER_MINUTE },
		{ "hour", MS_PER_HOUR },
		{ "day", MS_PER_DAY },
	};

	for (size_t i = 0; i < ARRAY_COUNT(units); i++) {
		if (slice_starts_with_nocase(text, slice_from(units[i].word))) {
			*unit_ms = units[i].ms;
			return true;
		}
	}
	return false;
}

static struct slice
skip_blanks(struct slice text)
{
	while (text.length > 0 && (text.data[0] == ' ' || text.data[0] == '\t'))
		text = slice_skip(text, 1);
	return text;
}

/* "… Please retry after 45 seconds. …": the first such phrase that has a number and a unit. */
static struct reading
read_body(struct slice body)
{
	const struct slice phrase = SLICE("retry after");
	struct decimal number;
	uint64_t unit_ms;
	ptrdiff_t at;

	while ((at = slice_find_nocase(body, phrase)) >= 0) {
		body = slice_skip(body, (size_t)at + phrase.length);

		struct slice text = skip_blanks(body);
		if (!decimal_take(&text, &number))
			continue;
		text = skip_blanks(text);
		if (starts_with_unit_word(text, &unit_ms))
			return reading_of(number.negative, decimal_to_ms(&number, unit_ms));
	}
	return absent;
}

/* All readings, in order of precedence. */
struct readings {
	struct reading retry_after_ms;
	struct reading x_ms_retry_after_ms;
	struct reading retry_after;
	struct reading reset_requests;
	struct reading reset_tokens;
};

static void
read_headers(const struct headers *headers, int64_t now_unix_ms, struct readings *out)
{
	for (unsigned i = 0; i < headers->count; i++) {
		enum header_id id = headers->items[i].id;
		struct slice value = headers->items[i].value;

		if (id == HEADER_RETRY_AFTER_MS)
			out->retry_after_ms = prefer(out->retry_after_ms, read_decimal(value, 1));
		else if (id == HEADER_X_MS_RETRY_AFTER_MS)
			out->x_ms_retry_after_ms = prefer(out->x_ms_retry_after_ms, read_decimal(value, 1));
		else if (id == HEADER_RETRY_AFTER)
			out->retry_after = prefer(out->retry_after, read_retry_after(value, now_unix_ms));
		else if (id == HEADER_X_RATELIMIT_RESET_REQUESTS)
			out->reset_requests = longer(out->reset_requests, read_duration(value));
		else if (id == HEADER_X_RATELIMIT_RESET_TOKENS)
			out->reset_tokens = longer(out->reset_tokens, read_duration(value));
	}
}

/* The limits may be odd: the cap beats all else, and nothing makes a wait 0. */
static uint64_t
clamp_wait(uint64_t wait_ms, uint64_t max_ms)
{
	wait_ms = wait_ms > max_ms ? max_ms : wait_ms;
	return wait_ms == 0 ? 1 : wait_ms;
}

struct hint
hint_read(const struct headers *headers, struct slice body, int64_t now_unix_ms, const struct hint_limits *limits)
{
	struct readings from = { absent, absent, absent, absent, absent };

	read_headers(headers, now_unix_ms, &from);

	bool tokens_last_longer = is_longer(from.reset_tokens, from.reset_requests);
	const struct {
		struct reading reading;
		enum hint_source source;
	} places[] = {
		{ from.retry_after_ms, HINT_RETRY_AFTER_MS },
		{ from.x_ms_retry_after_ms, HINT_RETRY_AFTER_MS },
		{ from.retry_after, HINT_RETRY_AFTER },
		{ longer(from.reset_requests, from.reset_tokens),
		    tokens_last_longer ? HINT_RESET_TOKENS : HINT_RESET_REQUESTS },
		{ read_body(body), HINT_BODY },
	};
	enum hint_source zero_from = HINT_NONE;

	for (size_t i = 0; i < ARRAY_COUNT(places); i++) {
		if (places[i].reading.kind == READING_POSITIVE) {
			uint64_t asked_ms = places[i].reading.ms;
			uint64_t floored_ms = asked_ms < HINT_FLOOR_MS ? HINT_FLOOR_MS : asked_ms;
			uint64_t wait_ms = clamp_wait(floored_ms, limits->max_ms);

			return (struct hint){ wait_ms, places[i].source, wait_ms != asked_ms };
		}
		if (places[i].reading.kind == READING_ZERO && zero_from == HINT_NONE)
			zero_from = places[i].source;
	}
	if (zero_from != HINT_NONE)
		return (struct hint){ clamp_wait(limits->min_ms, limits->max_ms), zero_from, true };
	return (struct hint){ clamp_wait(limits->default_ms, limits->max_ms), HINT_NONE, false };
}

bool
hint_duration_ms(struct slice text, uint64_t *ms)
{
	struct reading reading = read_duration(text);

	*ms = reading.ms;
	return reading.kind != READING_ABSENT;
}

const char *
hint_source_name(enum hint_source source)
{
	switch (source) {
	case HINT_NONE:
		return "default";
	case HINT_RETRY_AFTER_MS:
		return "retry-after-ms";
	case HINT_RETRY_AFTER:
		return "retry-after";
	case HINT_RESET_REQUESTS:
		return "x-ratelimit-reset-requests";
	case HINT_RESET_TOKENS:
		return "x-ratelimit-reset-tokens";
	case HINT_BODY:
		return "body";
	}
	return "default";
}

/* ---- what a caller is told -------------------------------------------------------------------------------------- */

uint64_t
hint_for_caller_ms(uint64_t wait_ms)
{
	if (wait_ms == 0)
		return 1;
	return wait_ms > HINT_CALLER_MAX_MS ? HINT_CALLER_MAX_MS : wait_ms;
}

uint64_t
hint_for_caller_seconds(uint64_t wait_ms)
{
	return (hint_for_caller_ms(wait_ms) + MS_PER_SECOND - 1) / MS_PER_SECOND;
}

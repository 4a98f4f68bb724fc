#include "identity/token_answer.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "http/json.h"
#include "http/target.h"

/* A raw JSON string or number of more bytes than this is no moment. */
#define MOMENT_MAX_BYTES 64U
/* Of an error's text so much is shown. */
#define SHOWN_MAX_BYTES 240U
/* A text that has so many bytes in a row of the secret repeats it. */
#define SECRET_PART_BYTES 8U

/* ---- moments --------------------------------------------------------------------------------------------------- */

/* Takes 1 to most digits. */
static bool
take_digits(struct slice *text, size_t most, int64_t *value)
{
	size_t length = 0;

	*value = 0;
	while (length < text->length && length < most && text->data[length] >= '0' && text->data[length] <= '9')
		*value = *value * 10 + (text->data[length++] - '0');
	*text = slice_skip(*text, length);
	return length > 0;
}

static bool
take_byte(struct slice *text, char byte)
{
	if (text->length == 0 || text->data[0] != byte)
		return false;
	*text = slice_skip(*text, 1);
	return true;
}

/* Days from 1970-01-01 of a date in the Gregorian calendar (years from March on, in eras of 400). */
static int64_t
days_of(int64_t year, int64_t month, int64_t day)
{
	int64_t era, year_of_era, day_of_year;

	year -= month <= 2;
	era = year / 400;
	year_of_era = year - era * 400;
	day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
	return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719468;
}

/* "Z", "+00:00" or nothing; what it adds to UTC, in seconds. */
static bool
take_offset(struct slice *text, int64_t *seconds)
{
	int64_t hours, minutes;
	bool minus;

	*seconds = 0;
	*text = slice_trim(*text);
	if (text->length == 0 || take_byte(text, 'Z'))
		return text->length == 0;
	minus = text->data[0] == '-';
	if ((!take_byte(text, '-') && !take_byte(text, '+')) || !take_digits(text, 2, &hours))
		return false;
	(void)take_byte(text, ':');
	if (!take_digits(text, 2, &minutes) || text->length > 0 || hours > 23 || minutes > 59)
		return false;
	*seconds = (hours * 60 + minutes) * 60 * (minus ? -1 : 1);
	return true;
}

static bool
take_time(struct slice *text, int64_t *seconds)
{
	int64_t hour, minute, second, fraction;
	bool is_pm, has_half;

	if (!take_digits(text, 2, &hour) || !take_byte(text, ':') || !take_digits(text, 2, &minute) ||
	    !take_byte(text, ':') || !take_digits(text, 2, &second))
		return false;
	if (take_byte(text, '.') && !take_digits(text, 9, &fraction))
		return false;
	*text = slice_trim(*text);
	is_pm = slice_starts_with_nocase(*text, SLICE("PM"));
	has_half = is_pm || slice_starts_with_nocase(*text, SLICE("AM"));
	if (has_half) {
		*text = slice_skip(*text, 2);
		/* "00:00:00 PM" is in Microsoft's own documents: only hours of a twelve-hour clock are moved. */
		if (is_pm && hour > 0 && hour < 12)
			hour += 12;
		else if (!is_pm && hour == 12)
			hour = 0;
	}
	*seconds = (hour * 60 + minute) * 60 + second;
	return hour < 24 && minute < 60 && second <= 60;
}

/* "2026-11-28T05:00:00Z", or "11/28/2026 5:00:00 AM +00:00" as App Service had it. */
static bool
read_date(struct slice text, int64_t *unix_seconds)
{
	int64_t first, second, third, year, month, day, time, offset;
	bool iso;

	if (!take_digits(&text, 4, &first))
		return false;
	iso = take_byte(&text, '-');
	if ((!iso && !take_byte(&text, '/')) || !take_digits(&text, 2, &second) || !take_byte(&text, iso ? '-' : '/') ||
	    !take_digits(&text, 4, &third) || (!take_byte(&text, 'T') && !take_byte(&text, ' ')) ||
	    !take_time(&text, &time) || !take_offset(&text, &offset))
		return false;
	year = iso ? first : third;
	month = iso ? second : first;
	day = iso ? third : second;
	*unix_seconds = days_of(year, month, day) * 86400 + time - offset;
	return year >= 1970 && year <= 9999 && month >= 1 && month <= 12 && day >= 1 && day <= 31;
}

/* Whole seconds, maybe with a fraction that is dropped. */
static bool
read_seconds(struct slice text, int64_t *seconds)
{
	int64_t fraction;

	if (!take_digits(&text, 15, seconds))
		return false;
	if (take_byte(&text, '.') && !take_digits(&text, 15, &fraction))
		return false;
	return text.length == 0;
}

/* A raw JSON number, or a raw JSON string that holds a number or a date. */
static bool
read_moment(const struct json_want *want, bool may_be_date, int64_t *seconds)
{
	char text[MOMENT_MAX_BYTES];
	size_t length = 0;
	struct slice inside;

	if (want->kind == JSON_NUMBER)
		return read_seconds(want->value, seconds);
	if (want->kind != JSON_STRING || want->value.length > sizeof(text) ||
	    !json_string_decode(want->value, text, &length))
		return false;
	inside = slice_trim(slice_of(text, length));
	return read_seconds(inside, seconds) || (may_be_date && read_date(inside, seconds));
}

/* ---- errors ---------------------------------------------------------------------------------------------------- */

static bool
has_part_of(struct slice text, struct slice secret)
{
	size_t part = secret.length < SECRET_PART_BYTES ? secret.length : SECRET_PART_BYTES;

	for (size_t at = 0; part > 0 && at + part <= text.length; at++)
		if (slice_find(secret, slice_of(text.data + at, part)) >= 0)
			return true;
	return false;
}

/* An endpoint may repeat what it was sent, as it is or as it was encoded, and the log must not. */
static bool
repeats_secret(struct slice text, struct slice secret)
{
	char decoded[SHOWN_MAX_BYTES];
	size_t length = 0, one;

	/* A percent sign that begins no sequence, or one that is cut, stands for itself. */
	for (size_t at = 0; at < text.length && length < sizeof(decoded); length++) {
		if (text.data[at] == '%' && text.length - at >= 3 &&
		    percent_decode(slice_of(text.data + at, 3), decoded + length, &one)) {
			at += 3;
			continue;
		}
		decoded[length] = text.data[at++];
	}
	return has_part_of(text, secret) || has_part_of(slice_of(decoded, length), secret);
}

/* Entra's descriptions go on with trace ids, each on a line of its own. */
static struct slice
first_line(struct slice text)
{
	size_t length = 0;

	while (
	    length < text.length && length < SHOWN_MAX_BYTES && text.data[length] != '\r' && text.data[length] != '\n')
		length++;
	return slice_of(text.data, length);
}

/* Appends a raw JSON string or number to the reason, escaped. */
static void
add_reason(struct token_answer *out, const struct json_want *want, struct slice secret)
{
	char safe[LOG_TEXT_SAFE_SIZE];
	struct slice shown = want->value;
	size_t length = 0, used = strlen(out->reason);
	struct buffer storage = { 0 };

	if (want->kind == JSON_STRING) {
		buffer_reserve(&storage, want->value.length + 1);
		shown = json_string_decode(want->value, storage.data, &length) ? slice_of(storage.data, length)
									       : SLICE_EMPTY;
	} else if (want->kind != JSON_NUMBER) {
		return;
	}
	shown = first_line(shown);
	if (repeats_secret(shown, secret))
		(void)snprintf(out->reason + used, sizeof(out->reason) - used,
		    ": a text that repeats the secret, and is not shown");
	else if (shown.length > 0)
		(void)snprintf(out->reason + used, sizeof(out->reason) - used, ": %s",
		    log_text_safe(shown, safe, sizeof(safe)));
	if (storage.data != NULL)
		explicit_bzero(storage.data, storage.capacity);
	buffer_free(&storage);
}

/* Adds what an error says of itself to the reason. */
static void
explain(struct slice body, struct slice secret, struct token_answer *out)
{
	struct json_want inside[] = { { .key = SLICE("code") }, { .key = SLICE("message") } };
	struct json_want wants[] = {
		{ .key = SLICE("error"), .inside = inside, .inside_count = ARRAY_COUNT(inside) },
		{ .key = SLICE("error_description") },
		{ .key = SLICE("message") },
	};

	if (json_scan(body, wants, ARRAY_COUNT(wants)) != JSON_OK)
		return;
	for (size_t i = 0; i < ARRAY_COUNT(inside); i++)
		add_reason(out, &inside[i], secret);
	for (size_t i = 0; i < ARRAY_COUNT(wants); i++)
		add_reason(out, &wants[i], secret);
}

/* Back off on 404, 408, 429 and 5xx; 410 ends by itself; other errors are for good (see Azure's documentation of the
 * metadata service, "Retry guidance"). A redirect is not followed: credentials go nowhere else. */
static enum token_verdict
judge(unsigned status)
{
	if (status == 410)
		return TOKEN_SOON;
	if (status >= 300 && status < 500 && status != 404 && status != 408 && status != 429)
		return TOKEN_REFUSED;
	return TOKEN_LATER;
}

/* ---- grants ---------------------------------------------------------------------------------------------------- */

/* RFC 6750, 2.1: what may stand behind "Bearer ". */
static bool
is_token(struct slice text)
{
	for (size_t i = 0; i < text.length; i++) {
		char byte = text.data[i];
		bool ok = (byte >= 'A' && byte <= 'Z') || (byte >= 'a' && byte <= 'z') ||
		    (byte >= '0' && byte <= '9') || (byte != '\0' && strchr("-._~+/=", byte) != NULL);

		if (!ok)
			return false;
	}
	return text.length > 0;
}

static bool
take_token(const struct json_want *want, struct token_answer *out)
{
	size_t length = 0;

	if (want->kind != JSON_STRING || want->found != 1 || want->value.length > TOKEN_MAX_BYTES)
		return false;
	buffer_reserve_exactly(&out->token, want->value.length);
	if (!json_string_decode(want->value, out->token.data, &length))
		return false;
	out->token.length = length;
	return is_token(buffer_slice(&out->token));
}

static bool
take_lifetime(const struct json_want *on, const struct json_want *in, int64_t now_unix_ms, uint64_t took_ms,
    struct token_answer *out)
{
	int64_t seconds = 0, left_ms;

	if (read_moment(on, true, &seconds))
		left_ms = seconds * 1000 - now_unix_ms;
	else if (read_moment(in, false, &seconds))
		left_ms = seconds * 1000 - (int64_t)took_ms;
	else
		return false;
	if (left_ms <= 0)
		return false;
	out->lifetime_ms = (uint64_t)left_ms < TOKEN_LIFETIME_MAX_MS ? (uint64_t)left_ms : TOKEN_LIFETIME_MAX_MS;
	return true;
}

static const char *
read_grant(struct slice body, int64_t now_unix_ms, uint64_t took_ms, struct token_answer *out)
{
	struct json_want wants[] = {
		{ .key = SLICE("access_token") },
		{ .key = SLICE("expires_on") },
		{ .key = SLICE("expires_in") },
		{ .key = SLICE("token_type") },
	};

	if (json_scan(body, wants, ARRAY_COUNT(wants)) != JSON_OK)
		return "it answered 200 without a JSON object";
	if (wants[3].found > 0 &&
	    (wants[3].kind != JSON_STRING || !slice_equals_nocase(wants[3].value, SLICE("\"Bearer\""))))
		return "its token is no Bearer token";
	if (!take_token(&wants[0], out))
		return "it answered 200 without a usable access_token";
	if (!take_lifetime(&wants[1], &wants[2], now_unix_ms, took_ms, out))
		return "its token has expired already, or has no readable expires_on or expires_in (is the clock "
		       "right?)";
	return NULL;
}

static bool
holds_token(struct slice body)
{
	struct json_want token = { .key = SLICE("access_token") };

	return json_scan_prefix(body, &token, 1) && token.kind != JSON_ABSENT && token.kind != JSON_NULL;
}

void
token_answer_read(unsigned status, struct slice body, int64_t now_unix_ms, uint64_t took_ms, struct slice secret,
    struct token_answer *out)
{
	const char *fault;

	*out = (struct token_answer){ .verdict = TOKEN_GRANTED };
	if (status != 200) {
		out->verdict = judge(status);
		(void)snprintf(out->reason, sizeof(out->reason), "it answered %u", status);
		explain(body, secret, out);
		return;
	}
	fault = read_grant(body, now_unix_ms, took_ms, out);
	if (fault == NULL)
		return;
	token_answer_free(out);
	out->lifetime_ms = 0;
	out->verdict = TOKEN_LATER;
	(void)snprintf(out->reason, sizeof(out->reason), "%s", fault);
	/* An answer that has a token may say it again in its other members. */
	if (!holds_token(body))
		explain(body, secret, out);
}

void
token_answer_free(struct token_answer *answer)
{
	if (answer->token.data != NULL)
		explicit_bzero(answer->token.data, answer->token.capacity);
	buffer_free(&answer->token);
}

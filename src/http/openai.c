#include "http/openai.h"

#include <string.h>

#include "http/json.h"
#include "scan.h"

/* Looks into a value that a scan found, when it is an object. */
static bool
scan_inside(const struct json_want *object, struct json_want *wants, size_t count)
{
	return object->kind == JSON_OBJECT && json_scan_prefix(object->value, wants, count);
}

/* Whether a value says anything: not null, false or empty. */
static bool
has_substance(const struct json_want *want)
{
	switch (want->kind) {
	case JSON_STRING:
		return want->value.length > 2;
	case JSON_OBJECT:
	case JSON_ARRAY:
		for (size_t i = 1; i + 1 < want->value.length; i++) {
			if (want->value.data[i] > ' ')
				return true;
		}
		return false;
	case JSON_NUMBER:
	case JSON_TRUE:
		return true;
	case JSON_ABSENT:
	case JSON_FALSE:
	case JSON_NULL:
		break;
	}
	return false;
}

/* Truthy as the SDKs have it: a number that is 0 is not, an object always is. */
static bool
is_truthy(const struct json_want *want)
{
	if (want->kind == JSON_OBJECT || want->kind == JSON_ARRAY)
		return true;
	if (want->kind != JSON_NUMBER)
		return has_substance(want);
	for (size_t i = 0; i < want->value.length && (want->value.data[i] | 0x20) != 'e'; i++) {
		if (want->value.data[i] >= '1' && want->value.data[i] <= '9')
			return true;
	}
	return false;
}

/* The text of a raw value: a string's inside, as it stands; a number's digits; else empty. */
static struct slice
text_of(const struct json_want *want)
{
	if (want->kind == JSON_NUMBER)
		return want->value;
	if (want->kind == JSON_STRING && want->value.length >= 2)
		return slice_of(want->value.data + 1, want->value.length - 2);
	return SLICE_EMPTY;
}

/* The status that a code or type names, or 0. */
static unsigned
status_of_code(struct slice code)
{
	static const struct slice throttled[] = {
		{ "rate_limit_exceeded", 19 },
		{ "too_many_requests", 17 },
		{ "insufficient_quota", 18 },
		{ "RateLimitReached", 16 },
	};
	uint64_t number;

	if (slice_to_u64(code, &number))
		return number == 429 || (number >= 500 && number <= 599) ? (unsigned)number : 0;
	for (size_t i = 0; i < ARRAY_COUNT(throttled); i++) {
		if (slice_equals_nocase(code, throttled[i]))
			return 429;
	}
	return 0;
}

/* The status that an error stands for: a word of throttling anywhere wins, then a server error's number. */
static unsigned
status_of_error(const struct json_want *error, const struct json_want *outer_code)
{
	struct json_want inside[] = { { .key = SLICE("code") }, { .key = SLICE("type") }, { .key = SLICE("status") } };
	const struct json_want *places[] = { &inside[0], &inside[1], &inside[2], outer_code, error };
	unsigned status = 0;

	(void)scan_inside(error, inside, ARRAY_COUNT(inside));
	for (size_t i = 0; i < ARRAY_COUNT(places); i++) {
		unsigned named = status_of_code(text_of(places[i]));
		if (named == 429)
			return named;
		if (status == 0)
			status = named;
	}
	return status != 0 ? status : 500;
}

/* What is looked for in a choice. Filled in by the scan that passes over it anyway. */
enum { CHOICE_DELTA, CHOICE_TEXT, CHOICE_FINISH_REASON, CHOICE_MEMBERS };
#define DELTA_MEMBERS 7

struct choice {
	struct json_want members[CHOICE_MEMBERS];
	struct json_want delta[DELTA_MEMBERS];
};

static void
choice_init(struct choice *choice)
{
	*choice = (struct choice){
		.members = {
			[CHOICE_DELTA] = { .key = SLICE("delta"), .inside = choice->delta, .inside_count = DELTA_MEMBERS },
			[CHOICE_TEXT] = { .key = SLICE("text") },
			[CHOICE_FINISH_REASON] = { .key = SLICE("finish_reason") },
		},
		.delta = {
			{ .key = SLICE("content") },
			{ .key = SLICE("tool_calls") },
			{ .key = SLICE("refusal") },
			{ .key = SLICE("function_call") },
			{ .key = SLICE("reasoning") },
			{ .key = SLICE("reasoning_content") },
			{ .key = SLICE("audio") },
		},
	};
}

static bool
choice_has_content(const struct choice *choice)
{
	if (has_substance(&choice->members[CHOICE_TEXT]) || has_substance(&choice->members[CHOICE_FINISH_REASON]))
		return true;
	for (size_t i = 0; i < DELTA_MEMBERS; i++) {
		if (has_substance(&choice->delta[i]))
			return true;
	}
	return false;
}

/* Stops at the first choice that has content; context is the bool to set. */
static bool
look_at_choice(struct slice element, enum json_kind kind, void *context)
{
	struct json_want object = { .value = element, .kind = kind };
	struct choice choice;
	bool *content = context;

	choice_init(&choice);
	*content = scan_inside(&object, choice.members, CHOICE_MEMBERS) && choice_has_content(&choice);
	return !*content;
}

static void
read_count(const struct json_want *want, uint64_t *count, bool *known)
{
	if (want->kind == JSON_NUMBER && json_to_u64(want->value, count))
		*known = true;
}

/* Reads a usage object of either dialect; leaves *usage alone when it is none. */
static void
read_usage(const struct json_want *object, struct openai_usage *usage)
{
	enum { PROMPT, COMPLETION, TOTAL, INPUT, OUTPUT, PROMPT_DETAILS, INPUT_DETAILS };
	struct json_want wants[] = {
		[PROMPT] = { .key = SLICE("prompt_tokens") },
		[COMPLETION] = { .key = SLICE("completion_tokens") },
		[TOTAL] = { .key = SLICE("total_tokens") },
		[INPUT] = { .key = SLICE("input_tokens") },
		[OUTPUT] = { .key = SLICE("output_tokens") },
		[PROMPT_DETAILS] = { .key = SLICE("prompt_tokens_details") },
		[INPUT_DETAILS] = { .key = SLICE("input_tokens_details") },
	};
	struct json_want cached = { .key = SLICE("cached_tokens") };
	struct openai_usage found = { .known = false };
	bool ignored;

	if (!scan_inside(object, wants, ARRAY_COUNT(wants)))
		return;
	read_count(&wants[PROMPT], &found.prompt_tokens, &found.known);
	read_count(&wants[INPUT], &found.prompt_tokens, &found.known);
	read_count(&wants[COMPLETION], &found.completion_tokens, &found.known);
	read_count(&wants[OUTPUT], &found.completion_tokens, &found.known);
	found.total_tokens = found.prompt_tokens + found.completion_tokens;
	read_count(&wants[TOTAL], &found.total_tokens, &found.known);
	if (scan_inside(&wants[PROMPT_DETAILS], &cached, 1) || scan_inside(&wants[INPUT_DETAILS], &cached, 1))
		read_count(&cached, &found.cached_tokens, &ignored);
	if (found.known)
		*usage = found;
}

/* The members of an event's data that say what it is. */
enum event_member {
	MEMBER_CHOICES,
	MEMBER_ERROR,
	MEMBER_TYPE,
	MEMBER_USAGE,
	MEMBER_RESPONSE,
	MEMBER_CODE,
	MEMBER_FILTER,
	MEMBER_COUNT
};

static void
read_error(const struct json_want *error, const struct json_want *code, struct openai_event *out)
{
	out->kind = OPENAI_EVENT_ERROR;
	out->error_status = status_of_error(error, code);
}

/* A typed event of a Responses stream; type is what follows "response.". */
static void
read_response_event(struct slice type, const struct json_want *members, struct openai_event *out)
{
	struct json_want inside[] = { { .key = SLICE("error") }, { .key = SLICE("usage") } };

	out->dialect = OPENAI_DIALECT_RESPONSES;
	out->kind = OPENAI_EVENT_CONTENT;
	if (slice_equals(type, SLICE("created")) || slice_equals(type, SLICE("queued")) ||
	    slice_equals(type, SLICE("in_progress"))) {
		out->kind = OPENAI_EVENT_QUIET;
		return;
	}
	bool failed = slice_equals(type, SLICE("failed"));
	if (!failed && !slice_equals(type, SLICE("completed")) && !slice_equals(type, SLICE("incomplete")))
		return;
	out->kind = OPENAI_EVENT_TERMINAL;
	if (scan_inside(&members[MEMBER_RESPONSE], inside, ARRAY_COUNT(inside)))
		read_usage(&inside[1], &out->usage);
	if (failed) {
		out->response_failed = true;
		read_error(&inside[0], &members[MEMBER_CODE], out);
	}
}

/* A chunk of a chat or completions stream; choice is what the scan found in the choice of one that has one alone. */
static void
read_chunk(const struct sse_event *event, const struct json_want *members, const struct choice *choice,
    struct openai_event *out)
{
	const struct json_want *choices = &members[MEMBER_CHOICES];
	bool content = choice_has_content(choice);

	out->dialect = OPENAI_DIALECT_CHUNKS;
	if (!has_substance(choices))
		content = members[MEMBER_USAGE].kind == JSON_OBJECT; /* the backend has done its work */
	else if (!content && choices->kind == JSON_ARRAY && !json_each(choices->value, look_at_choice, &content))
		content = event->truncated; /* choices that are cut off are long ones */
	out->kind = content ? OPENAI_EVENT_CONTENT : OPENAI_EVENT_QUIET;
}

/* Data that is an object. The type is the data's own, else the event field's. */
static void
read_object(const struct sse_event *event, const struct json_want *members, const struct choice *choice,
    struct openai_event *out)
{
	struct slice type = members[MEMBER_TYPE].kind == JSON_STRING ? text_of(&members[MEMBER_TYPE]) : event->type;
	bool is_error = slice_equals(type, SLICE("error")) || slice_equals(event->type, SLICE("error"));

	read_usage(&members[MEMBER_USAGE], &out->usage);
	if (is_error || is_truthy(&members[MEMBER_ERROR]))
		read_error(&members[MEMBER_ERROR], &members[MEMBER_CODE], out);
	else if (slice_starts_with(type, SLICE("response.")))
		read_response_event(slice_skip(type, 9), members, out);
	else if (members[MEMBER_CHOICES].found > 0)
		read_chunk(event, members, choice, out);
	else if (slice_equals(type, SLICE("keepalive")))
		out->kind = OPENAI_EVENT_QUIET;
	else
		out->kind =
		    members[MEMBER_FILTER].found > 0 && type.length == 0 ? OPENAI_EVENT_QUIET : OPENAI_EVENT_CONTENT;
}

void
openai_event_read(const struct sse_event *event, struct openai_event *out)
{
	struct choice choice;
	struct json_want members[MEMBER_COUNT] = {
		[MEMBER_CHOICES] = { .key = SLICE("choices"),
		    .inside = choice.members,
		    .inside_count = CHOICE_MEMBERS },
		[MEMBER_ERROR] = { .key = SLICE("error") },
		[MEMBER_TYPE] = { .key = SLICE("type") },
		[MEMBER_USAGE] = { .key = SLICE("usage") },
		[MEMBER_RESPONSE] = { .key = SLICE("response") },
		[MEMBER_CODE] = { .key = SLICE("code") },
		[MEMBER_FILTER] = { .key = SLICE("prompt_filter_results") },
	};

	*out = (struct openai_event){ .kind = OPENAI_EVENT_QUIET };
	/* Of an event without data, or with nothing in it, no reader is told (WHATWG HTML, 9.2.6). */
	if (!event->has_data || event->data.length == 0)
		return;
	if (slice_starts_with(event->data, SLICE("[DONE]"))) {
		out->kind = OPENAI_EVENT_DONE;
		return;
	}
	choice_init(&choice);
	bool readable = event->truncated ? json_scan_prefix(event->data, members, MEMBER_COUNT)
					 : json_scan(event->data, members, MEMBER_COUNT) == JSON_OK;
	if (readable) {
		read_object(event, members, &choice, out);
	} else if (slice_equals(event->type, SLICE("error"))) {
		out->kind = OPENAI_EVENT_ERROR;
		out->error_status = 500;
	} else {
		out->kind = slice_equals(event->type, SLICE("keepalive")) ? OPENAI_EVENT_QUIET : OPENAI_EVENT_CONTENT;
	}
}

/* Enough for any of the keys below, each letter in six bytes, of which the first is known to be spelled so. */
#define ESCAPED_KEY_BYTES 32

/* Whether the string that begins text spells a letter as \u006x or \u007x: it may be one of the keys below. */
static bool
spells_letters(struct slice text)
{
	size_t length = text.length < ESCAPED_KEY_BYTES ? text.length : ESCAPED_KEY_BYTES;

	for (size_t i = 1; i + 5 < length && text.data[i] != '"'; i++) {
		if (text.data[i] == '\\' && text.data[i + 1] == 'u' && text.data[i + 2] == '0' &&
		    text.data[i + 3] == '0' && (text.data[i + 4] == '6' || text.data[i + 4] == '7'))
			return true;
	}
	return false;
}

/* Whether text holds the bytes of the keys "error" or "type" or of a "usage" that is not null, as key or as string. */
static bool
mentions_more(struct slice text)
{
	const char *end = text.data + text.length;

	for (const char *at = text.data; (at = scan_quoted_etu(at, end)) != end; at++) {
		struct slice rest = slice_of(at, (size_t)(end - at));

		if (slice_starts_with(rest, SLICE("\"type\"")) || slice_starts_with(rest, SLICE("\"error\"")) ||
		    spells_letters(rest))
			return true;
		if (slice_starts_with(rest, SLICE("\"usage\"")) &&
		    !slice_starts_with(slice_skip(rest, 7), SLICE(":null")))
			return true;
	}
	return false;
}

bool
openai_event_only_goes_on(const struct sse_event *event, enum openai_dialect dialect)
{
	static const struct slice front = { "{\"type\":\"", 9 }, delta = { ".delta", 6 };
	struct slice data = event->data, type = event->type;

	if (event->truncated || data.length == 0 || data.data[0] != '{')
		return false;
	if (dialect == OPENAI_DIALECT_CHUNKS)
		return type.length == 0 && !mentions_more(data);
	if (dialect != OPENAI_DIALECT_RESPONSES || type.length < delta.length ||
	    !slice_starts_with(type, SLICE("response.")) ||
	    !slice_equals(slice_skip(type, type.length - delta.length), delta))
		return false;
	/* The data's own type counts. */
	if (!slice_starts_with(data, front) || !slice_starts_with(slice_skip(data, front.length), type))
		return false;
	data = slice_skip(data, front.length + type.length);
	return data.length > 0 && data.data[0] == '"' && !mentions_more(data);
}

void
openai_usage_read(struct slice json_body, struct openai_usage *usage)
{
	struct json_want want = { .key = SLICE("usage") };

	*usage = (struct openai_usage){ .known = false };
	if (json_scan(json_body, &want, 1) == JSON_OK)
		read_usage(&want, usage);
}

/* Reads the object behind "usage" and a colon, if that is what rest begins with. */
static void
read_usage_at(struct slice rest, struct openai_usage *usage)
{
	struct json_want object = { .kind = JSON_OBJECT };
	bool colon = false;

	while (rest.length > 0 &&
	    (rest.data[0] == ' ' || rest.data[0] == '\t' || rest.data[0] == '\r' || rest.data[0] == '\n' ||
		(rest.data[0] == ':' && !colon))) {
		colon = colon || rest.data[0] == ':';
		rest = slice_skip(rest, 1);
	}
	object.value = rest;
	if (colon)
		read_usage(&object, usage);
}

void
openai_usage_read_tail(struct slice tail, struct openai_usage *usage)
{
	/* Inside of a string the quotes would be escaped, so these bytes are a key. */
	static const struct slice key = { "\"usage\"", 7 };

	const char *end = tail.length > 0 ? tail.data + tail.length : tail.data;

	*usage = (struct openai_usage){ .known = false };
	while (tail.length > 0 && !usage->known) {
		const char *quote = memrchr(tail.data, '"', tail.length);
		if (!quote)
			break;
		struct slice rest = slice_of(quote, (size_t)(end - quote));
		if (slice_starts_with(rest, key))
			read_usage_at(slice_skip(rest, key.length), usage);
		tail.length = (size_t)(quote - tail.data);
	}
}

struct slice
openai_error_code(struct slice json_body)
{
	struct json_want error = { .key = SLICE("error") };
	struct json_want code = { .key = SLICE("code") };

	if (!json_scan_prefix(json_body, &error, 1) || !scan_inside(&error, &code, 1))
		return SLICE_EMPTY;
	return text_of(&code);
}

#include "http/id_scanner.h"

#include <string.h>

#include "base/compiler.h"
#include "scan.h"

enum scanner_state {
	OUTSIDE,        /* between strings that matter */
	IN_NAME,        /* a string that may turn out to be a member's name */
	AFTER_NAME,     /* it has ended: a colon makes it one */
	BEFORE_VALUE,   /* behind a name that is looked for */
	BEFORE_ELEMENT, /* in a list behind such a name */
	IN_VALUE,       /* a string behind such a name */
	AFTER_ELEMENT,
};

static const struct {
	struct slice name;
	enum id_member member;
} members[] = {
	{ SLICE_STATIC("id"), ID_OWN },
	{ SLICE_STATIC("type"), ID_TYPE },
	{ SLICE_STATIC("file_id"), ID_FILE },
	{ SLICE_STATIC("file_ids"), ID_FILE },
	{ SLICE_STATIC("thread_id"), ID_THREAD },
	{ SLICE_STATIC("container"), ID_CONTAINER },
	{ SLICE_STATIC("assistant_id"), ID_ASSISTANT },
	{ SLICE_STATIC("container_id"), ID_CONTAINER },
	{ SLICE_STATIC("conversation"), ID_CONVERSATION },
	{ SLICE_STATIC("input_file_id"), ID_FILE },
	{ SLICE_STATIC("error_file_id"), ID_FILE },
	{ SLICE_STATIC("training_file"), ID_FILE },
	{ SLICE_STATIC("output_file_id"), ID_FILE },
	{ SLICE_STATIC("validation_file"), ID_FILE },
	{ SLICE_STATIC("vector_store_id"), ID_VECTOR_STORE },
	{ SLICE_STATIC("vector_store_ids"), ID_VECTOR_STORE },
	{ SLICE_STATIC("conversation_id"), ID_CONVERSATION },
	{ SLICE_STATIC("encrypted_content"), ID_ENCRYPTED },
	{ SLICE_STATIC("previous_response_id"), ID_PREVIOUS_RESPONSE },
	/* What callers put there is repeated in answers, so that any value behind a name above would seem to be made by the
	 * resource. Ids cannot be told by how they look: Azure has had some with prefixes and some without. */
	{ SLICE_STATIC("schema"), ID_OWN_WORDS },
	{ SLICE_STATIC("headers"), ID_OWN_WORDS },
	{ SLICE_STATIC("metadata"), ID_OWN_WORDS },
	{ SLICE_STATIC("attributes"), ID_OWN_WORDS },
	{ SLICE_STATIC("parameters"), ID_OWN_WORDS },
	{ SLICE_STATIC("item_schema"), ID_OWN_WORDS },
	{ SLICE_STATIC("input_schema"), ID_OWN_WORDS },
	{ SLICE_STATIC("variables"), ID_OWN_NAMES },
};

/* FNV-1a, begun with the seed, so that text may come in pieces. */
static inline uint64_t
hash_more(uint64_t hash, const char *bytes, size_t length)
{
	for (size_t i = 0; i < length; i++)
		hash = (hash ^ (unsigned char)bytes[i]) * UINT64_C(0x100000001b3);
	return hash;
}

/* Spreads the bits, as tables take the lowest ones (the finalizer of MurmurHash3). */
static uint64_t
hash_end(uint64_t hash, size_t length)
{
	hash ^= length;
	hash = (hash ^ hash >> 33) * UINT64_C(0xff51afd7ed558ccd);
	hash = (hash ^ hash >> 33) * UINT64_C(0xc4ceb9fe1a85ec53);
	return hash ^ hash >> 33;
}

static uint64_t
hash_begin(uint64_t seed)
{
	return seed ^ UINT64_C(0xcbf29ce484222325);
}

uint64_t
id_hash(struct slice id, uint64_t seed)
{
	return hash_end(hash_more(hash_begin(seed), id.data, id.length), id.length);
}

void
id_scanner_init(struct id_scanner *scanner, uint64_t seed, id_found_fn *found, void *context)
{
	*scanner = (struct id_scanner){ .found = found, .context = context, .seed = seed, .state = OUTSIDE };
}

static enum id_member
member_named(struct slice name)
{
	for (size_t i = 0; i < ARRAY_COUNT(members); i++) {
		if (slice_equals(name, members[i].name))
			return members[i].member;
	}
	return ID_NONE;
}

static void
begin_string(struct id_scanner *scanner, enum scanner_state state)
{
	scanner->state = (uint8_t)state;
	scanner->escaped = false;
	scanner->length = 0;
	scanner->hash = hash_begin(scanner->seed);
}

static void
take_plain(struct id_scanner *scanner, const char *bytes, size_t length)
{
	if (scanner->length < sizeof(scanner->word)) {
		size_t room = sizeof(scanner->word) - scanner->length;

		memcpy(scanner->word + scanner->length, bytes, length < room ? length : room);
	}
	if (scanner->state == IN_VALUE)
		scanner->hash = hash_more(scanner->hash, bytes, length);
	scanner->length += length;
}

static struct slice
word_of(const struct id_scanner *scanner)
{
	return scanner->length > sizeof(scanner->word) ? SLICE_EMPTY : slice_of(scanner->word, scanner->length);
}

static void
end_name(struct id_scanner *scanner)
{
	enum id_member member = member_named(word_of(scanner));

	if (member == ID_OWN && scanner->adopts_id)
		member = ID_CONVERSATION;
	if (scanner->depth > 0 && (scanner->depth <= scanner->free_depth || member >= ID_OWN_WORDS))
		member = ID_NONE;
	scanner->member = (uint8_t)member;
	scanner->state = AFTER_NAME;
}

static void
end_value(struct id_scanner *scanner)
{
	struct id_found found = { .member = (enum id_member)scanner->member };

	scanner->state = scanner->in_array ? AFTER_ELEMENT : OUTSIDE;
	if (scanner->length == 0)
		return;
	found.hash = hash_end(scanner->hash, scanner->length);
	found.item_reference = found.member == ID_TYPE && slice_equals(word_of(scanner), SLICE("item_reference"));
	scanner->found(&found, scanner->context);
}

/* Goes through a string; returns where it went on to. A backslash is dropped and what follows it taken as it stands: what
 * is looked for has at most a slash escaped. */
static const char *
take_string(struct id_scanner *scanner, const char *at, const char *end)
{
	const char *stop;

	if (scanner->escaped) {
		scanner->escaped = false;
		take_plain(scanner, at, 1);
		return at + 1;
	}
	stop = scan_json_string(at, end);
	take_plain(scanner, at, (size_t)(stop - at));
	if (stop == end)
		return end;
	if (*stop == '\\') {
		scanner->escaped = true;
	} else if (*stop != '"') { /* a control byte: this is no JSON string; the next quote begins another */
		scanner->state = OUTSIDE;
		scanner->in_array = false;
	} else if (scanner->state == IN_NAME) {
		end_name(scanner);
	} else {
		end_value(scanner);
	}
	return stop + 1;
}

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* The value behind one of the names. */
static bool
begin_value(struct id_scanner *scanner, char c)
{
	bool is_free = scanner->member >= ID_OWN_WORDS;

	scanner->state = OUTSIDE;
	if (c == '{') {
		scanner->adopts_id = scanner->member == ID_CONVERSATION;
		if (is_free)
			scanner->free_depth = scanner->member == ID_OWN_WORDS ? UINT32_MAX : 1;
		if (is_free || scanner->depth > 0)
			scanner->depth++;
		return true;
	}
	if (is_free)
		return false;
	if (c == '"')
		begin_string(scanner, IN_VALUE);
	scanner->in_array = c == '[';
	if (c == '[')
		scanner->state = BEFORE_ELEMENT;
	return c == '"' || c == '[';
}

/* The byte that says what follows a name, a colon, a bracket or an element. False: it is to be looked at once more. */
static bool
take_mark(struct id_scanner *scanner, char c)
{
	switch ((enum scanner_state)scanner->state) {
	case AFTER_NAME:
		scanner->adopts_id = false;
		scanner->state = c == ':' && scanner->member != ID_NONE ? BEFORE_VALUE : OUTSIDE;
		return c == ':';
	case BEFORE_VALUE:
		return begin_value(scanner, c);
	case BEFORE_ELEMENT:
		if (c == '"') {
			begin_string(scanner, IN_VALUE);
			return true;
		}
		break;
	case AFTER_ELEMENT:
		if (c == ',') {
			scanner->state = BEFORE_ELEMENT;
			return true;
		}
		break;
	case OUTSIDE:
	case IN_NAME:
	case IN_VALUE:
		break;
	}
	scanner->in_array = false;
	scanner->state = OUTSIDE;
	return false;
}

/* Goes on to the next string, minding braces where they matter. NULL when the bytes have none. */
static const char *
find_string(struct id_scanner *scanner, const char *at, const char *end)
{
	for (; scanner->depth > 0 && at < end && *at != '"'; at++) {
		if (*at == '{')
			scanner->depth++;
		else if (*at == '}')
			scanner->depth--;
	}
	return at < end ? memchr(at, '"', (size_t)(end - at)) : NULL;
}

void
id_scanner_feed(struct id_scanner *scanner, struct slice bytes)
{
	const char *at = bytes.data, *end = bytes.length > 0 ? bytes.data + bytes.length : bytes.data;

	while (at < end) {
		if (scanner->state == IN_NAME || scanner->state == IN_VALUE) {
			at = take_string(scanner, at, end);
		} else if (scanner->state == OUTSIDE) {
			at = find_string(scanner, at, end);
			if (at == NULL)
				return;
			at++;
			begin_string(scanner, IN_NAME);
		} else if (is_blank(*at) || take_mark(scanner, *at)) {
			at++;
		}
	}
}

/* ---- paths ------------------------------------------------------------------------------------------------------ */

struct slice
id_in_path(struct slice operation)
{
	static const struct slice collections[] = { SLICE_STATIC("/responses/"), SLICE_STATIC("/files/"),
		SLICE_STATIC("/vector_stores/"), SLICE_STATIC("/batches/"), SLICE_STATIC("/assistants/"),
		SLICE_STATIC("/threads/"), SLICE_STATIC("/conversations/"), SLICE_STATIC("/uploads/"),
		SLICE_STATIC("/containers/"), SLICE_STATIC("/evals/"), SLICE_STATIC("/videos/"),
		SLICE_STATIC("/fine_tuning/jobs/"), SLICE_STATIC("/video/generations/jobs/"),
		SLICE_STATIC("/video/generations/"), SLICE_STATIC("/chat/completions/") };
	/* What stands in an id's place below /responses and /threads but is an operation. */
	static const struct slice operations[] = { SLICE_STATIC("compact"), SLICE_STATIC("input_tokens"),
		SLICE_STATIC("runs"), SLICE_STATIC("jobs") };

	for (size_t i = 0; i < ARRAY_COUNT(collections); i++) {
		struct slice rest;
		const char *slash;

		if (!slice_starts_with(operation, collections[i]))
			continue;
		rest = slice_skip(operation, collections[i].length);
		slash = rest.length > 0 ? memchr(rest.data, '/', rest.length) : NULL;
		if (slash != NULL)
			rest.length = (size_t)(slash - rest.data);
		for (size_t k = 0; k < ARRAY_COUNT(operations); k++) {
			if (slice_equals(rest, operations[k]))
				return SLICE_EMPTY;
		}
		return rest;
	}
	return SLICE_EMPTY;
}

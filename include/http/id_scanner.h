/* http/id_scanner.h: which stored things a JSON body or answer names, seen in passing.
 *
 * Some calls depend on what one Azure OpenAI resource keeps: a response to go on from, a conversation, files, vector
 * stores, encrypted reasoning. The scanner is fed a body or an answer (event streams as well: their framing holds no
 * quotes) in pieces of any size and reports each string that stands behind one of the names below, at any depth, as a
 * hash: what it is is of no interest, only whether it was seen before. Objects whose members callers name as they like
 * (metadata and their kin) hold no ids, whatever their names. It is no parser: malformed text is scanned as far as it
 * makes sense. Pure; no allocation; safe from any thread.
 *
 *	id_scanner_init(&scanner, seed, note_id, exchange);
 *	id_scanner_feed(&scanner, piece);
 */
#ifndef HTTP_ID_SCANNER_H
#define HTTP_ID_SCANNER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

enum id_member {
	ID_NONE,
	ID_OWN,               /* id: of the object that it stands in */
	ID_TYPE,              /* type: reported so that item_reference can be told; see id_found.item_reference */
	ID_PREVIOUS_RESPONSE, /* previous_response_id */
	ID_CONVERSATION,      /* conversation: a string, or an object that begins with its id */
	ID_FILE,              /* file_id, file_ids, input_file_id, output_file_id, error_file_id, training_file, … */
	ID_VECTOR_STORE,      /* vector_store_id, vector_store_ids */
	ID_ASSISTANT,         /* assistant_id */
	ID_THREAD,            /* thread_id */
	ID_CONTAINER,         /* container_id, container */
	ID_ENCRYPTED,         /* encrypted_content: readable only for the resource that made it */
	/* Never reported: */
	ID_OWN_WORDS, /* metadata, parameters, …: an object of the caller's own words */
	ID_OWN_NAMES, /* variables: the caller's own names, of what may refer to something */
};

struct id_found {
	enum id_member member;
	uint64_t hash;       /* as id_hash() makes it */
	bool item_reference; /* ID_TYPE: the type is "item_reference" */
};

typedef void id_found_fn(const struct id_found *found, void *context);

/* The longest name that is looked for; longer strings cannot be one. */
#define ID_WORD_MAX_BYTES 24U

struct id_scanner {
	id_found_fn *found;
	void *context;
	uint64_t seed;
	uint64_t hash; /* of the string at hand, so far */
	size_t length; /* of that string, unescaped as far as this needs it */
	uint8_t state;
	uint8_t member;      /* enum id_member: the name that the value at hand stands behind */
	bool escaped;        /* the last byte was a backslash */
	bool in_array;       /* the value is an element of a list */
	bool adopts_id;      /* the next name, if it is "id", is the conversation's */
	uint32_t depth;      /* of the braces in an object whose names are the caller's own; 0: outside of any */
	uint32_t free_depth; /* … which are so down to this depth */
	char word[ID_WORD_MAX_BYTES];
};

/* seed: any number that strangers do not know; the same for all hashes that are compared. context is handed to found. */
void id_scanner_init(struct id_scanner *scanner, uint64_t seed, id_found_fn *found, void *context);
void id_scanner_feed(struct id_scanner *scanner, struct slice bytes);

/* The hash of an id that stands elsewhere, as in a path. Empty ids have one too. */
uint64_t id_hash(struct slice id, uint64_t seed);

/* The stored thing that a path names, e.g. "resp_1" of "/responses/resp_1/input_items"; empty where it names none.
 * operation: the path behind /openai or /openai/v1. */
struct slice id_in_path(struct slice operation);

#endif

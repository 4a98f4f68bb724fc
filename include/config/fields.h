/* config/fields.h: the table of everything that can be configured.
 *
 * One row a key. The table drives reading, defaults, range checks, --print-config, the guide in config/README.md and the
 * schema, so that none of them can disagree with another: a new key is one new row (and one new member of a struct in
 * config/config.h). Constant; safe from any thread.
 *
 *	const struct field *field = field_find(&config_fields, "timeouts.connect_ms");
 *	uint64_t value = field_number(field, config);
 */
#ifndef CONFIG_FIELDS_H
#define CONFIG_FIELDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/compiler.h"
#include "base/slice.h"
#include "config/config.h"

enum field_type {
	FIELD_TEXT,    /* char *; never NULL */
	FIELD_NUMBER,  /* an unsigned integer of 2, 4 or 8 bytes */
	FIELD_BOOLEAN, /* bool */
	FIELD_CHOICE,  /* one of the words in choices; stored as its index, an enum */
	FIELD_NAMES,   /* an array of unique deployment names: char **, NULL-terminated, NULL when absent */
	FIELD_MAP,     /* the deployments of a backend */
	FIELD_LIST,    /* an array of objects, each described by elements */
	FIELD_BY_NAME, /* an object of such objects by deployment name, which is the first member of each: char *name */
	FIELD_IGNORED, /* allowed for the sake of editors, means nothing here */
};

enum field_unit { UNIT_NONE, UNIT_MILLISECONDS, UNIT_BYTES };

enum field_flag {
	FIELD_REQUIRED = 1U << 0,
	FIELD_SECRET = 1U << 1, /* never shown: not in a fault, not in --print-config */
	FIELD_FIXED = 1U << 2,  /* a reload does not change it */
};

/* What a text must look like. An empty text fits where the default is empty. */
struct text_shape {
	const char *expected; /* completes "expected …" in a fault */
	const char *pattern;  /* for the schema: an ECMA 262 expression; NULL when it cannot be said in one */
	bool (*fits)(struct slice value);
};

struct field_table;

struct field {
	const char *path; /* from the root, or from the list element: "timeouts.connect_ms", "auth.key" */
	const char *description;
	enum field_type type;
	enum field_unit unit;
	unsigned flags;
	size_t offset;       /* of the member, in the struct that the table describes */
	size_t size;         /* of the member; 0: it has none, as only one value is possible so far */
	size_t count_offset; /* FIELD_LIST, FIELD_BY_NAME: of the size_t that counts the elements */
	const char *default_text;
	uint64_t default_number;    /* numbers, booleans, and choices by index */
	uint64_t minimum;           /* numbers; for lists the least count */
	uint64_t maximum;           /* numbers; for lists the greatest count */
	const char *zero_word;      /* this word is written instead of the number 0: "auto" */
	const char *const *choices; /* NULL-terminated */
	const struct text_shape *shape;
	unsigned auth_types; /* a mask of BIT(enum auth_type) that the key belongs to; 0: to all */
	const struct field_table *elements;
};

struct field_table {
	const struct field *fields;
	size_t count;
	size_t element_size; /* of the struct it describes */
};

extern const struct field_table config_fields;         /* struct config */
extern const struct field_table config_client_fields;  /* struct config_client */
extern const struct field_table config_backend_fields; /* struct config_backend */
extern const struct field_table config_setting_fields; /* struct config_setting */

/* The row of that path; NULL when there is none. */
const struct field *field_find(const struct field_table *table, const char *path);
/* The member that a row describes, in target. */
void *field_member(const struct field *field, void *target);
const void *field_member_const(const struct field *field, const void *target);
/* The value of a number, a boolean or a choice. */
uint64_t field_number(const struct field *field, const void *target);
void field_set_number(const struct field *field, void *target, uint64_t value);
const char *field_text(const struct field *field, const void *target);
/* Takes over text, which comes from the heap. The one before is freed. */
void field_set_text(const struct field *field, void *target, char *text);
/* Gives every member of target that the table describes its default. */
void fields_set_defaults(const struct field_table *table, void *target);
/* "milliseconds", "bytes" or "". */
const char *field_unit_name(enum field_unit unit);

/* ---- what is made from the table ------------------------------------------------------------------------------- */

/* The Markdown table of all keys, for config/README.md. */
void config_write_guide(struct buffer *out);
/* The JSON schema (draft 2020-12), for config/aoai-lb.schema.json. */
void config_write_schema(struct buffer *out);
/* Adds one fault for each key that differs between the two and that a reload does not change: what a reload reports
 * and ignores. Returns how many there are. */
size_t config_fixed_changes(const struct config *before, const struct config *after, struct config_faults *changes);

#endif

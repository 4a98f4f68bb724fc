/* config/load.h: what the files of this room share while they build a snapshot. Private to config.
 *
 * A struct load lives on the stack of one config_load_*() call. It knows where in the file the reader is, so that every
 * fault carries its path:
 *
 *	size_t mark = load_enter(load, "timeouts");
 *	load_fault(load, "connect_ms", "expected …");      "timeouts.connect_ms: expected …"
 *	load_leave(load, mark);
 */
#ifndef CONFIG_LOAD_H
#define CONFIG_LOAD_H

#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

#include "base/buffer.h"
#include "base/compiler.h"
#include "base/slice.h"
#include "config/config.h"
#include "config/fields.h"

#define CONFIG_FILE_MAX_BYTES (16U * 1024U * 1024U)
#define CONFIG_SECRET_FILE_MAX_BYTES (64U * 1024U)
/* Of a string after its ${NAME}s were replaced. */
#define CONFIG_STRING_MAX_BYTES (64U * 1024U)
#define CONFIG_DEPLOYMENTS_MAX 1024U
/* As much of a found value or an unknown key is shown in a fault. */
#define CONFIG_SHOWN_MAX_BYTES 64U

/* In the environment form a fault names the variable that a path was filled from. */
struct load_alias {
	char *path; /* also stands for what lies below it */
	char *variable;
	const char *note; /* added to the fault, or NULL */
};

struct load {
	struct config_faults *faults;
	config_getenv_fn *getenv_fn; /* NULL: nothing is set */
	void *context;
	struct buffer path;    /* where the reader is: "backends[1].auth" */
	bool from_environment; /* strings are taken as they are, and may stand for numbers */
	struct load_alias *aliases;
	size_t alias_count;
};

/* ---- faults.c -------------------------------------------------------------------------------------------------- */

/* Goes down to a member (shown quoted where it is no plain word) or an element; load_leave() goes back to mark. */
size_t load_enter(struct load *load, const char *member) MUST_CHECK;
size_t load_enter_index(struct load *load, size_t index) MUST_CHECK;
void load_leave(struct load *load, size_t mark);
/* member: dotted path below the current one, or NULL for the current one. */
void load_fault(struct load *load, const char *member, const char *format, ...) PRINTF_LIKE(3, 4);
/* Whether the member, or anything below it, has a fault already: then what follows from it need not be said. */
bool load_has_fault(struct load *load, const char *member) MUST_CHECK;
/* Appends text for a fault: escaped, in quotes, cut at CONFIG_SHOWN_MAX_BYTES. */
void load_show(struct buffer *out, struct slice text);

/* ---- expand.c -------------------------------------------------------------------------------------------------- */

/* Replaces ${NAME} and ${NAME:-default} in raw; "$${" stands for "${". Returns NULL after saying what is wrong; else
 * the caller frees the text (see load_free_text() for secrets). *expanded: whether anything was replaced. */
char *load_expand(struct load *load, struct slice raw, bool *expanded) MUST_CHECK;
/* Appends text so that load_expand() gives it back. */
void load_escape(struct buffer *out, struct slice text);

/* ---- parse.c --------------------------------------------------------------------------------------------------- */

/* The text of a JSON string, expanded. NULL after saying what is wrong: no string, or one that cannot be expanded. */
char *load_string(struct load *load, const json_t *json, bool *expanded) MUST_CHECK;
/* Reads a whole configuration from its JSON form, checks it, and gives the snapshot or NULL. */
struct config *load_config(struct load *load, json_t *root) MUST_CHECK;
/* "a string", "an object", … */
const char *load_kind(const json_t *json);

/* ---- the parts of a configuration, each with its own rules ------------------------------------------------------ */

/* A deployment's name that stands as a key, from the heap; NULL with a fault when it is none. */
char *load_deployment_key(struct load *load, const char *key) MUST_CHECK;
void load_deployment_map(struct load *load, struct config_backend *backend, json_t *json);
void load_client_deployments(struct load *load, struct config_client *client, json_t *json);
/* After all keys of a backend have been read. */
void load_finish_backend(struct load *load, struct config_backend *backend);
/* After all keys have been read: what concerns more than one key. */
void load_check(struct load *load, struct config *config);
/* Takes backend->url apart. Says what is wrong below the current path. */
void load_url(struct load *load, struct config_backend *backend);

/* ---- file.c ---------------------------------------------------------------------------------------------------- */

/* Appends a file's content. False with *why (static or strerror's) when it cannot be read or is longer than cap. */
bool load_read_file(const char *path, size_t cap, bool regular_only, struct buffer *out, const char **why) MUST_CHECK;
/* Whether a file can be read, for those that others read later. */
bool load_can_read(const char *path, const char **why) MUST_CHECK;

/* ---- shapes.c -------------------------------------------------------------------------------------------------- */

extern const struct text_shape shape_address, shape_api_version, shape_base_path, shape_file, shape_host, shape_https,
    shape_key, shape_name, shape_plain, shape_url_text;

/* A DNS name, an IPv4 address, or an IPv6 address without brackets. */
bool shape_host_fits(struct slice host) MUST_CHECK;
/* A path that begins with '/', by the rules for request paths, without repeated slashes. */
bool shape_path_fits(struct slice path) MUST_CHECK;

/* ---- suggest.c ------------------------------------------------------------------------------------------------- */

/* Finds the candidate that a typo most likely meant. */
struct suggestion {
	struct slice word;
	struct slice best; /* borrowed from the candidates; empty: none is near */
	size_t distance;
};

void suggestion_begin(struct suggestion *suggestion, struct slice word);
void suggestion_consider(struct suggestion *suggestion, struct slice candidate);

/* ---- snapshot.c ------------------------------------------------------------------------------------------------ */

/* Frees a text that may be secret, overwriting it first, and nulls the caller's pointer. */
void load_free_text(char **text);
/* Overwrites every string in a JSON tree before it is freed. */
void load_free_json(json_t **json);

#endif

/* environment.c: BACKEND_1_URL and its kin, a drop-in for the sample balancer that is configured in this way.
 *
 * The variables are put into the JSON form and read like a file, so all rules are the same; aliases make the faults name
 * the variables. A variable that is set and empty counts as not set, as deployment templates leave such; but for
 * CLIENT_KEY, whose absence opens the daemon to everybody.
 */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/memory.h"
#include "config/load.h"

#define PREFIX "BACKEND_"
#define NUMBER_MAX_DIGITS 9U
#define TIMEOUT_MAX_SECONDS 86400U

enum suffix { SUFFIX_URL, SUFFIX_PRIORITY, SUFFIX_APIKEY, SUFFIX_DEPLOYMENT_NAME, SUFFIX_COUNT };

static const char *const suffix_names[SUFFIX_COUNT] = { "URL", "PRIORITY", "APIKEY", "DEPLOYMENT_NAME" };

struct numbered_backend {
	uint64_t number;
	const char *values[SUFFIX_COUNT]; /* borrowed from the environment; NULL: not set */
};

struct backend_list {
	struct numbered_backend *items;
	size_t count;
};

/* One entry of the environment whose name is BACKEND_, digits, '_', suffix. */
struct backend_variable {
	struct slice name;
	struct slice digits;
	struct slice suffix;
	const char *value;
};

static bool
read_variable(const char *entry, struct backend_variable *variable)
{
	struct slice whole = slice_from(entry), rest;
	ptrdiff_t equals = slice_find(whole, SLICE("="));
	size_t digits = 0;

	if (equals < 0 || entry[equals + 1] == '\0')
		return false;
	variable->name = slice_of(entry, (size_t)equals);
	variable->value = entry + equals + 1;
	if (!slice_starts_with(variable->name, SLICE(PREFIX)))
		return false;
	rest = slice_skip(variable->name, sizeof(PREFIX) - 1);
	while (digits < rest.length && rest.data[digits] >= '0' && rest.data[digits] <= '9')
		digits++;
	if (digits == 0 || digits >= rest.length || rest.data[digits] != '_')
		return false;
	variable->digits = slice_of(rest.data, digits);
	variable->suffix = slice_skip(rest, digits + 1);
	return true;
}

bool
config_environment_present(char *const *environment)
{
	struct backend_variable variable;

	for (; *environment != NULL; environment++) {
		if (read_variable(*environment, &variable) && slice_equals(variable.suffix, SLICE("URL")))
			return true;
	}
	return false;
}

/* Kubernetes describes a service called backend-1 in variables of these names. */
static bool
is_service_link(struct slice suffix)
{
	return slice_starts_with(suffix, SLICE("SERVICE_")) || slice_equals(suffix, SLICE("PORT")) ||
	    slice_starts_with(suffix, SLICE("PORT_"));
}

static void
fault_for_variable(struct config_faults *faults, const struct backend_variable *variable, const char *text)
{
	char *name = slice_duplicate(variable->name);

	config_faults_add(faults, name, "%s", text);
	free(name);
}

static void
unknown_variable(struct config_faults *faults, const struct backend_variable *variable)
{
	struct buffer text = { 0 };
	struct suggestion near;

	suggestion_begin(&near, variable->suffix);
	for (size_t i = 0; i < SUFFIX_COUNT; i++)
		suggestion_consider(&near, slice_from(suffix_names[i]));
	buffer_append_string(&text, "unknown variable; ");
	if (near.best.length > 0)
		buffer_append_format(&text, "did you mean " PREFIX "%.*s_%.*s?", SLICE_PRINT(variable->digits),
		    SLICE_PRINT(near.best));
	else
		buffer_append_string(&text, "a backend has URL, PRIORITY, APIKEY and DEPLOYMENT_NAME");
	buffer_append_byte(&text, '\0');
	fault_for_variable(faults, variable, text.data);
	buffer_free(&text);
}

static struct numbered_backend *
find_or_add(struct backend_list *list, uint64_t number)
{
	for (size_t i = 0; i < list->count; i++) {
		if (list->items[i].number == number)
			return &list->items[i];
	}
	list->items = memory_resize(list->items, (list->count + 1) * sizeof(*list->items));
	list->items[list->count] = (struct numbered_backend){ .number = number };
	return &list->items[list->count++];
}

static void
take_variable(struct backend_list *list, const struct backend_variable *variable, struct config_faults *faults)
{
	uint64_t number;

	for (size_t i = 0; i < SUFFIX_COUNT; i++) {
		if (!slice_equals(variable->suffix, slice_from(suffix_names[i])))
			continue;
		if (variable->digits.data[0] == '0' || variable->digits.length > NUMBER_MAX_DIGITS ||
		    !slice_to_u64(variable->digits, &number))
			fault_for_variable(faults, variable, "backends are numbered from 1, without leading zeros");
		else
			find_or_add(list, number)->values[i] = variable->value;
		return;
	}
	if (!is_service_link(variable->suffix))
		unknown_variable(faults, variable);
}

static int
compare_numbers(const void *a, const void *b)
{
	uint64_t left = ((const struct numbered_backend *)a)->number;
	uint64_t right = ((const struct numbered_backend *)b)->number;

	return left < right ? -1 : left > right;
}

static struct backend_list
collect_backends(char *const *environment, struct config_faults *faults)
{
	struct backend_list list = { NULL, 0 };
	struct backend_variable variable;

	for (; *environment != NULL; environment++) {
		if (read_variable(*environment, &variable))
			take_variable(&list, &variable, faults);
	}
	if (list.count > 1)
		qsort(list.items, list.count, sizeof(*list.items), compare_numbers);
	return list;
}

/* ---- the JSON form ---------------------------------------------------------------------------------------------- */

/* Takes over value. */
static void
set(json_t *object, const char *key, json_t *value)
{
	if (json_object_set_new(object, key, value) != 0)
		fatal("a JSON tree cannot be built: out of memory");
}

/* The object of that name below root, made when it is not there yet. */
static json_t *
group(json_t *root, const char *key)
{
	json_t *object = json_object_get(root, key);

	if (object == NULL) {
		object = json_object();
		set(root, key, object);
	}
	return object;
}

/* Takes over the alias's path and variable. */
static void
add_alias(struct load *load, struct load_alias alias)
{
	load->aliases = memory_resize(load->aliases, (load->alias_count + 1) * sizeof(*load->aliases));
	load->aliases[load->alias_count++] = alias;
}

static void
add_plain_alias(struct load *load, const char *path, const char *variable)
{
	add_alias(load, (struct load_alias){ memory_copy_string(path), memory_copy_string(variable), NULL });
}

static char *
numbered(const char *before, uint64_t number, const char *after)
{
	struct buffer out = { 0 };
	char *text;

	buffer_append_string(&out, before);
	buffer_append_u64(&out, number);
	buffer_append_string(&out, after);
	text = slice_duplicate(buffer_slice(&out));
	buffer_free(&out);
	return text;
}

/* Puts a variable's value into the tree, if it is set. group_name: below that member of object, or NULL. */
static void
put(struct load *load, json_t *object, const char *group_name, const char *key, const char *value, const char *variable)
{
	json_t *string;

	if (value == NULL)
		return;
	string = json_string(value);
	if (string == NULL)
		config_faults_add(load->faults, variable, "is not valid UTF-8");
	else
		set(group_name != NULL ? group(object, group_name) : object, key, string);
}

/* Which of the container's user-assigned identities, as Azure's libraries have it. */
static void
put_client_id(struct load *load, json_t *backend)
{
	const char *client_id = load->getenv_fn != NULL ? load->getenv_fn("AZURE_CLIENT_ID", load->context) : NULL;

	if (client_id != NULL && *client_id != '\0')
		put(load, backend, "auth", "client_id", client_id, "AZURE_CLIENT_ID");
}

static void
put_backend(struct load *load, json_t *backends, size_t index, const struct numbered_backend *from)
{
	static const struct {
		const char *variable, *path, *group, *key;
	} places[SUFFIX_COUNT] = {
		[SUFFIX_URL] = { "_URL", "].url", NULL, "url" },
		[SUFFIX_PRIORITY] = { "_PRIORITY", "].priority", NULL, "priority" },
		[SUFFIX_APIKEY] = { "_APIKEY", "].auth", "auth", "key" },
		[SUFFIX_DEPLOYMENT_NAME] = { "_DEPLOYMENT_NAME", "].deployments", "deployments", "*" },
	};
	bool has_key = from->values[SUFFIX_APIKEY] != NULL;
	json_t *backend = json_object();
	char *name = numbered("openai", from->number, "");

	set(backend, "name", json_string(name));
	free(name);
	set(group(backend, "auth"), "type", json_string(has_key ? "api_key" : "managed_identity"));
	if (!has_key)
		put_client_id(load, backend);
	for (size_t i = 0; i < SUFFIX_COUNT; i++) {
		char *variable = numbered(PREFIX, from->number, places[i].variable);
		const char *note =
		    i == SUFFIX_APIKEY && !has_key ? "is not set, which stands for managed_identity" : NULL;

		put(load, backend, places[i].group, places[i].key, from->values[i], variable);
		add_alias(load, (struct load_alias){ numbered("backends[", index, places[i].path), variable, note });
	}
	if (json_array_append_new(backends, backend) != 0)
		fatal("a JSON tree cannot be built: out of memory");
}

static void
put_timeout(struct load *load, json_t *root, const char *value)
{
	uint64_t seconds;

	if (value == NULL)
		return;
	if (!slice_to_u64(slice_from(value), &seconds) || seconds < 1 || seconds > TIMEOUT_MAX_SECONDS) {
		config_faults_add(load->faults, "HTTP_TIMEOUT_SECONDS",
		    "expected a whole number from 1 to %u (seconds)", TIMEOUT_MAX_SECONDS);
		return;
	}
	set(group(root, "timeouts"), "response_ms", json_integer((json_int_t)seconds * 1000));
	set(group(root, "timeouts"), "stream_idle_ms", json_integer((json_int_t)seconds * 1000));
}

static void
put_client(struct load *load, json_t *root, const char *key)
{
	json_t *clients, *client;

	if (key == NULL)
		return;
	clients = json_array();
	client = json_object();
	set(client, "name", json_string("client"));
	put(load, client, NULL, "key", key, "CLIENT_KEY");
	if (json_array_append_new(clients, client) != 0)
		fatal("a JSON tree cannot be built: out of memory");
	set(root, "clients", clients);
	add_plain_alias(load, "clients", "CLIENT_KEY");
}

static const char *
look_up(const struct load *load, const char *name)
{
	return load->getenv_fn != NULL ? load->getenv_fn(name, load->context) : NULL;
}

/* The same, with "" for not set. */
static const char *
look_up_filled(const struct load *load, const char *name)
{
	const char *value = look_up(load, name);

	return value != NULL && *value != '\0' ? value : NULL;
}

static void
put_plain_variables(struct load *load, json_t *root)
{
	static const struct {
		const char *variable, *path, *group, *key;
	} places[] = {
		{ "PORT", "listen.port", "listen", "port" },
		{ "LOG_FORMAT", "log.format", "log", "format" },
		{ "LOG_LEVEL", "log.level", "log", "level" },
		{ "ADMIN_ADDRESS", "admin.address", "admin", "address" },
		{ "ADMIN_PORT", "admin.port", "admin", "port" },
	};

	for (size_t i = 0; i < ARRAY_COUNT(places); i++) {
		put(load, root, places[i].group, places[i].key, look_up_filled(load, places[i].variable),
		    places[i].variable);
		add_plain_alias(load, places[i].path, places[i].variable);
	}
	put_client(load, root, look_up(load, "CLIENT_KEY"));
	put_timeout(load, root, look_up_filled(load, "HTTP_TIMEOUT_SECONDS"));
}

static json_t *
write_tree(struct load *load, const struct backend_list *list)
{
	json_t *root = json_object(), *backends = json_array();

	for (size_t i = 0; i < list->count; i++)
		put_backend(load, backends, i, &list->items[i]);
	set(root, "backends", backends);
	put_plain_variables(load, root);
	add_plain_alias(load, "backends", "BACKEND_n_URL");
	return root;
}

struct config *
config_load_environment(char *const *environment, config_getenv_fn *getenv_fn, void *context,
    struct config_faults *faults)
{
	struct load load = { .faults = faults, .getenv_fn = getenv_fn, .context = context, .from_environment = true };
	size_t faults_before = faults->count;
	struct backend_list list = collect_backends(environment, faults);
	json_t *root = write_tree(&load, &list);
	struct config *config = load_config(&load, root);

	/* Faults of the variables themselves count as well. */
	if (faults->count > faults_before)
		config_release(&config);
	load_free_json(&root);
	for (size_t i = 0; i < load.alias_count; i++) {
		free(load.aliases[i].path);
		free(load.aliases[i].variable);
	}
	free(load.aliases);
	free(list.items);
	buffer_free(&load.path);
	return config;
}

/* Any bytes as a configuration file: it loads or says why, and what is printed loads again and prints the same. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "config/fields.h"

#define REDACTED "***"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *
fake_getenv(const char *name, void *context)
{
	(void)context;
	if (strcmp(name, "KEY") == 0)
		return "key-of-env";
	if (strcmp(name, "PORT") == 0)
		return "8081";
	if (strcmp(name, "ODD") == 0)
		return "${KEY}\n\xff";
	return NULL;
}

static struct config *
load(struct slice text)
{
	struct config_faults faults = { NULL, 0 };
	struct config *config = config_load_text(text, fake_getenv, NULL, &faults);
	/* What the file itself writes where no secret belongs may be shown. */
	bool written = slice_find(text, SLICE("key-of-env")) >= 0;

	if ((config == NULL) != (faults.count > 0))
		abort();
	for (size_t i = 0; i < faults.count; i++) {
		if (strpbrk(faults.items[i].path, "\r\n") != NULL || strpbrk(faults.items[i].text, "\r\n") != NULL ||
		    (!written && strstr(faults.items[i].text, "key-of-env") != NULL))
			abort();
	}
	config_faults_free(&faults);
	return config;
}

/* No two clients may have the same key: each gets one of its own. */
static void
replace_secrets(struct slice printed, struct buffer *out)
{
	unsigned number = 0;
	ptrdiff_t at;

	while ((at = slice_find(printed, SLICE("\"key\": \"" REDACTED "\""))) >= 0) {
		buffer_append(out, printed.data, (size_t)at);
		buffer_append_format(out, "\"key\": \"k%u\"", number++);
		printed = slice_skip(printed, (size_t)at + sizeof("\"key\": \"" REDACTED "\"") - 1);
	}
	buffer_append_slice(out, printed);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buffer printed = { 0 }, changed = { 0 }, again = { 0 };
	struct config *config = load(slice_of((const char *)data, size)), *second;
	struct slice name;

	if (config == NULL)
		return 0;
	for (size_t i = 0; i < config->backend_count; i++) {
		if (!config_map_deployment(&config->backends[i], SLICE("gpt-4o"), &name) &&
		    !config->backends[i].has_map)
			abort();
	}
	config_print(config, &printed);
	replace_secrets(buffer_slice(&printed), &changed);
	second = load(buffer_slice(&changed));
	if (second == NULL)
		abort();
	config_print(second, &again);
	if (!slice_equals(buffer_slice(&printed), buffer_slice(&again)))
		abort();
	config_release(&config);
	config_release(&second);
	buffer_free(&printed);
	buffer_free(&changed);
	buffer_free(&again);
	return 0;
}

/* check.c: what concerns more than one key. */
#include <stdio.h>
#include <string.h>

#include "config/load.h"

#define MEMBER_MAX_BYTES 64U

/* Two empty texts are no pair: what is wrong with them has been said. */
static bool
same(const char *a, const char *b)
{
	return *a != '\0' && strcmp(a, b) == 0;
}

static void
element_fault(struct load *load, const char *list, size_t index, const char *key, const char *what, size_t first)
{
	char member[MEMBER_MAX_BYTES];

	(void)snprintf(member, sizeof(member), "%s[%zu].%s", list, index, key);
	load_fault(load, member, "%s as %s[%zu]; each needs its own", what, list, first);
}

static void
check_backends(struct load *load, const struct config *config)
{
	for (size_t i = 0; i < config->backend_count; i++) {
		const struct config_backend *backend = &config->backends[i];
		char member[MEMBER_MAX_BYTES];

		for (size_t j = 0; j < i; j++) {
			if (same(config->backends[j].name, backend->name)) {
				element_fault(load, "backends", i, "name", "the same name", j);
				break;
			}
		}
		(void)snprintf(member, sizeof(member), "backends[%zu].auth", i);
		if (config->client_count > 0 && backend->auth.type == AUTH_PASSTHROUGH && !load_has_fault(load, member))
			load_fault(load, member,
			    "passthrough together with clients would hand the clients' keys to the backend; set "
			    "auth.type "
			    "to api_key, or remove clients");
	}
}

static void
check_clients(struct load *load, const struct config *config)
{
	for (size_t i = 0; i < config->client_count; i++) {
		const struct config_client *client = &config->clients[i];

		for (size_t j = 0; j < i; j++) {
			if (same(config->clients[j].name, client->name)) {
				element_fault(load, "clients", i, "name", "the same name", j);
				break;
			}
		}
		for (size_t j = 0; j < i; j++) {
			if (same(config->clients[j].key, client->key)) {
				element_fault(load, "clients", i, "key", "the same key", j);
				break;
			}
		}
	}
}

static void
check_certificate(struct load *load, const struct config_listen *listen)
{
	const char *why = "";

	if (load_has_fault(load, "listen.tls"))
		return;
	if ((*listen->certificate_file == '\0') != (*listen->private_key_file == '\0')) {
		load_fault(load, "listen.tls", "needs both certificate_file and private_key_file, or neither");
		return;
	}
	if (*listen->certificate_file != '\0' && !load_can_read(listen->certificate_file, &why))
		load_fault(load, "listen.tls.certificate_file",
		    "cannot read %s: %s; correct the path, or let the daemon's user read it", listen->certificate_file,
		    why);
	if (*listen->private_key_file != '\0' && !load_can_read(listen->private_key_file, &why))
		load_fault(load, "listen.tls.private_key_file",
		    "cannot read %s: %s; correct the path, or let the daemon's user read it", listen->private_key_file,
		    why);
}

static bool
is_wildcard_address(const char *address)
{
	return strcmp(address, "0.0.0.0") == 0 || strcmp(address, "::") == 0;
}

static void
check_ports(struct load *load, const struct config *config)
{
	const char *data = config->listen.address, *admin = config->admin.address;

	if (load_has_fault(load, "listen") || load_has_fault(load, "admin"))
		return;
	if (config->admin.port != 0 && config->admin.port == config->listen.port &&
	    (strcmp(data, admin) == 0 || is_wildcard_address(data) || is_wildcard_address(admin)))
		load_fault(load, "admin.port", "%u is the port of listen.port, too; choose another",
		    (unsigned)config->admin.port);
}

static void
check_cooldown(struct load *load, const struct config *config)
{
	if (load_has_fault(load, "cooldown"))
		return;
	if (config->cooldown.min_ms > config->cooldown.max_ms)
		load_fault(load, "cooldown.min_ms", "%llu is more than cooldown.max_ms, %llu; lower it, or raise that",
		    (unsigned long long)config->cooldown.min_ms, (unsigned long long)config->cooldown.max_ms);
	if (config->cooldown.default_ms > config->cooldown.max_ms)
		load_fault(load, "cooldown.default_ms",
		    "%llu is more than cooldown.max_ms, %llu; lower it, or raise that",
		    (unsigned long long)config->cooldown.default_ms, (unsigned long long)config->cooldown.max_ms);
}

static void
trim_base_path(struct config *config)
{
	size_t length = strlen(config->listen.base_path);

	if (length > 0 && config->listen.base_path[length - 1] == '/')
		config->listen.base_path[length - 1] = '\0';
}

static void
derive(struct config *config)
{
	config->models_listed = true;
	for (size_t i = 0; i < config->backend_count; i++) {
		if (!config->backends[i].has_map || config->backends[i].wildcard != NULL)
			config->models_listed = false;
	}
}

void
load_check(struct load *load, struct config *config)
{
	check_certificate(load, &config->listen);
	check_ports(load, config);
	check_clients(load, config);
	check_backends(load, config);
	check_cooldown(load, config);
	trim_base_path(config);
	derive(config);
}

#include "identity/curl_library.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <stdio.h>

#define LIBRARY "libcurl.so.4"
/* CURLOPT_PROTOCOLS_STR is the newest of what a fetch cannot do without. */
#define OLDEST_NUMBER 0x075500U
#define OLDEST "7.85"

/* Where a function's address goes; dlsym() gives a data pointer, which POSIX lets stand for a function's. */
struct symbol {
	const char *name;
	void *place;
};

static bool
find_symbols(void *handle, const struct symbol *symbols, size_t count, char *fault, size_t fault_size)
{
	for (size_t i = 0; i < count; i++) {
		void *address = dlsym(handle, symbols[i].name);

		if (address == NULL) {
			(void)snprintf(fault, fault_size,
			    "%s has no %s: tokens of an identity need libcurl " OLDEST " or later (Debian's libcurl4)",
			    LIBRARY, symbols[i].name);
			return false;
		}
		*(void **)symbols[i].place = address;
	}
	return true;
}

const struct curl_library *
curl_library_load(char *fault, size_t fault_size)
{
	static struct curl_library library;
	static bool loaded;
	curl_version_info_data *(*version_info)(CURLversion age);
	const curl_version_info_data *version;
	const struct symbol symbols[] = {
		{ "curl_version_info", &version_info },
		{ "curl_global_init", &library.global_init },
		{ "curl_easy_init", &library.easy_init },
		{ "curl_easy_setopt", &library.easy_setopt },
		{ "curl_easy_getinfo", &library.easy_getinfo },
		{ "curl_easy_cleanup", &library.easy_cleanup },
		{ "curl_easy_strerror", &library.easy_strerror },
		{ "curl_slist_append", &library.slist_append },
		{ "curl_slist_free_all", &library.slist_free_all },
		{ "curl_multi_init", &library.multi_init },
		{ "curl_multi_cleanup", &library.multi_cleanup },
		{ "curl_multi_add_handle", &library.multi_add_handle },
		{ "curl_multi_remove_handle", &library.multi_remove_handle },
		{ "curl_multi_perform", &library.multi_perform },
		{ "curl_multi_poll", &library.multi_poll },
		{ "curl_multi_wakeup", &library.multi_wakeup },
		{ "curl_multi_info_read", &library.multi_info_read },
	};
	void *handle;

	if (loaded)
		return &library;
	handle = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
	if (handle == NULL) {
		(void)snprintf(fault, fault_size,
		    "tokens of an identity need libcurl, which cannot be loaded: %s (install Debian's libcurl4, or use "
		    "api_key)",
		    dlerror());
		return NULL;
	}
	if (!find_symbols(handle, symbols, ARRAY_COUNT(symbols), fault, fault_size))
		return NULL;
	version = version_info(CURLVERSION_NOW);
	if (version->version_num < OLDEST_NUMBER) {
		(void)snprintf(fault, fault_size,
		    "libcurl %s is too old: tokens of an identity need " OLDEST " or later, or use api_key",
		    version->version);
		return NULL;
	}
	if (library.global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
		(void)snprintf(fault, fault_size, "libcurl cannot be initialised");
		return NULL;
	}
	loaded = true;
	return &library;
}

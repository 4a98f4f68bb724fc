/* identity/curl_library.h: libcurl, loaded when an identity is configured and not before.
 *
 * Linked in the usual way it would cost every daemon five megabytes of memory, HTTP/2, LDAP and Kerberos included, for a
 * request an hour. So it is opened by name, once, and never closed; every function used is looked up at that moment, so
 * that a missing one is a fault at the start and not at the first refresh.
 *
 * A documented singleton: a process has one libcurl. Loaded by the main thread; used by the identity thread.
 */
#ifndef IDENTITY_CURL_LIBRARY_H
#define IDENTITY_CURL_LIBRARY_H

#include <stddef.h>

#include <curl/curl.h>

#include "base/compiler.h"

struct curl_library {
	CURLcode (*global_init)(long flags);
	CURL *(*easy_init)(void);
	CURLcode (*easy_setopt)(CURL *easy, CURLoption option, ...);
	CURLcode (*easy_getinfo)(CURL *easy, CURLINFO info, ...);
	void (*easy_cleanup)(CURL *easy);
	const char *(*easy_strerror)(CURLcode code);
	struct curl_slist *(*slist_append)(struct curl_slist *list, const char *text);
	void (*slist_free_all)(struct curl_slist *list);
	CURLM *(*multi_init)(void);
	CURLMcode (*multi_cleanup)(CURLM *multi);
	CURLMcode (*multi_add_handle)(CURLM *multi, CURL *easy);
	CURLMcode (*multi_remove_handle)(CURLM *multi, CURL *easy);
	CURLMcode (*multi_perform)(CURLM *multi, int *running);
	CURLMcode (*multi_poll)(CURLM *multi, struct curl_waitfd fds[], unsigned count, int timeout_ms, int *ready);
	CURLMcode (*multi_wakeup)(CURLM *multi);
	CURLMsg *(*multi_info_read)(CURLM *multi, int *left);
};

/* The library, borrowed for good; NULL with the reason in fault. */
const struct curl_library *curl_library_load(char *fault, size_t fault_size) MUST_CHECK;

#endif

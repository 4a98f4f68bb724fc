/* The order in which the addresses of a name are tried. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <netinet/in.h>

#include "base/compiler.h"
#include "net/endpoint.h"
#include "net/resolver.h"

static struct address
address_of(char letter)
{
	struct address address;
	struct sockaddr_in *v4 = (struct sockaddr_in *)&address.socket_address;

	memset(&address, 0, sizeof(address));
	v4->sin_family = AF_INET;
	v4->sin_addr.s_addr = htonl((uint32_t)letter);
	address.length = sizeof(*v4);
	return address;
}

static void
resolve(struct endpoint *endpoint, const char *letters, const char *fault)
{
	struct address addresses[ENDPOINT_ADDRESSES_MAX];
	size_t count = strlen(letters);

	for (size_t i = 0; i < count; i++)
		addresses[i] = address_of(letters[i]);
	endpoint_resolved(endpoint, addresses, count, fault);
}

static void
expect(struct endpoint *endpoint, const char *behaviour, const char *letters)
{
	struct address found[ENDPOINT_ADDRESSES_MAX];
	char order[ENDPOINT_ADDRESSES_MAX + 1] = "";
	bool pending;
	size_t count = endpoint_addresses(endpoint, 1, found, ARRAY_COUNT(found), &pending);

	for (size_t i = 0; i < count; i++) {
		const struct sockaddr_in *v4 = (const struct sockaddr_in *)&found[i].socket_address;

		order[i] = (char)ntohl(v4->sin_addr.s_addr);
	}
	if (strcmp(order, letters) != 0)
		fail_msg("%s: %s instead of %s", behaviour, order, letters);
}

static void
fail_address(struct endpoint *endpoint, char letter)
{
	struct address address = address_of(letter);

	endpoint_address_failed(endpoint, &address);
}

/* A literal address is never looked up, so that nothing but the test gives it others. */
static struct endpoint *
make(void)
{
	struct endpoint_settings settings = { .host = "127.0.0.1", .port = 80 };
	char fault[100];
	struct endpoint *endpoint = endpoint_new(&settings, fault, sizeof(fault));

	assert_non_null(endpoint);
	return endpoint;
}

static void
puts_failed_addresses_behind_the_others(void **state)
{
	struct endpoint *endpoint = make();

	(void)state;
	resolve(endpoint, "abc", "");
	expect(endpoint, "the resolver's order", "abc");
	fail_address(endpoint, 'a');
	expect(endpoint, "one has failed", "bca");
	resolve(endpoint, "abc", "");
	expect(endpoint, "looked up again, the resolver knows nothing of it", "bca");
	fail_address(endpoint, 'b');
	resolve(endpoint, "abcd", "");
	expect(endpoint, "the one that failed last comes last", "cdab");
	fail_address(endpoint, 'a');
	resolve(endpoint, "dcba", "");
	expect(endpoint, "it failed again", "dcba");
	resolve(endpoint, "ab", "");
	expect(endpoint, "where all have failed, the longest ago is first", "ba");
	fail_address(endpoint, 'z');
	expect(endpoint, "an address that it no longer has", "ba");
	endpoint_release(&endpoint);
}

static void
keeps_the_last_good_addresses(void **state)
{
	struct endpoint *endpoint = make();
	char fault[100];

	(void)state;
	resolve(endpoint, "ab", "");
	resolve(endpoint, "", "Name or service not known");
	expect(endpoint, "the look-up failed", "ab");
	endpoint_fault(endpoint, fault, sizeof(fault));
	assert_string_equal(fault, "Name or service not known");
	resolve(endpoint, "c", "");
	expect(endpoint, "it moved", "c");
	endpoint_release(&endpoint);
}

static void
remembers_only_so_many_failures(void **state)
{
	struct endpoint *endpoint = make();

	(void)state;
	for (char letter = 'A'; letter <= 'Z'; letter++)
		fail_address(endpoint, letter);
	resolve(endpoint, "YAZ", "");
	expect(endpoint, "the oldest is forgotten", "AYZ");
	for (unsigned i = 0; i < 100; i++)
		fail_address(endpoint, i % 2 != 0 ? 'Y' : 'Z');
	expect(endpoint, "again and again", "AZY");
	endpoint_release(&endpoint);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(puts_failed_addresses_behind_the_others),
		cmocka_unit_test(keeps_the_last_good_addresses),
		cmocka_unit_test(remembers_only_so_many_failures),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

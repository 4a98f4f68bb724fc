/* aoai-bench: the load generator and the fixed backend of ./dev bench. A developer's tool: it is not installed. */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/slice.h"
#include "bench/backend.h"
#include "bench/load.h"

#define EXIT_BAD_ARGUMENTS 1
#define EXIT_CANNOT_START 2
#define EXIT_ERRORS 3
#define CONNECTIONS_MAX 100000U
#define ADDRESSES_MAX 200U
#define NAMES_MAX 4096U
#define MS_MAX 86400000U

static const char usage[] =
    "Usage: aoai-bench backend [options]\n"
    "       aoai-bench load --port PORT [options]\n"
    "The backend gives canned answers until SIGTERM; the load asks for them and checks each one.\n"
    "\n"
    "  --address ADDRESS    to listen on, or to connect to (127.0.0.1)\n"
    "  --port PORT          0 (the backend's default): any free one; it is printed\n"
    "backend:\n"
    "  --tls CERTIFICATE,KEY  two PEM files\n"
    "  --refuse STATUS      answers 429 or 503 to everything\n"
    "  --wait MS            that a refusal asks for (10)\n"
    "  --lie N              one answer of N has a wrong byte\n"
    "load:\n"
    "  --call NAME          json (default), request_40k, answer_40k or stream-EVENTS-GAP_MS\n"
    "  --connections N      at once (1)\n"
    "  --names N            asks for the deployments d0 to dN-1 in turn, which are json under other names\n"
    "  --requests N         ends after so many answers\n"
    "  --run MS             ends after so long\n"
    "  --warm MS            before anything is measured (0)\n"
    "  --addresses N        connects from N source addresses, 127.0.0.2 and on\n"
    "  --tls                connects with TLS and verifies nothing\n"
    "  --interactive        prints \"ready\" when warm, waits for a line, and for another one after the result\n"
    "\n"
    "Exit status: 0 without errors, 1 bad arguments, 2 cannot start, 3 there were errors.\n";

static uint64_t
number_of(const char *option, const char *text, uint64_t least, uint64_t most)
{
	uint64_t number;

	if (slice_to_u64(slice_from(text), &number) && number >= least && number <= most)
		return number;
	fprintf(stderr, "aoai-bench: %s: \"%s\" is no number from %llu to %llu\n", option, text,
	    (unsigned long long)least, (unsigned long long)most);
	exit(EXIT_BAD_ARGUMENTS);
}

static void
refuse_arguments(const char *reason)
{
	fprintf(stderr, "aoai-bench: %s\n", reason);
	exit(EXIT_BAD_ARGUMENTS);
}

/* ---- backend --------------------------------------------------------------------------------------------------- */

static void
read_backend(int count, char **arguments, struct backend_settings *settings)
{
	static const struct option known[] = { { "address", required_argument, NULL, 'a' },
		{ "port", required_argument, NULL, 'p' }, { "tls", required_argument, NULL, 't' },
		{ "refuse", required_argument, NULL, 'r' }, { "wait", required_argument, NULL, 'w' },
		{ "lie", required_argument, NULL, 'i' }, { 0 } };
	char *comma;
	int option;

	*settings = (struct backend_settings){ .address = "127.0.0.1", .wait_ms = 10 };
	while ((option = getopt_long(count, arguments, "", known, NULL)) != -1) {
		switch (option) {
		case 'a':
			settings->address = optarg;
			break;
		case 'p':
			settings->port = (uint16_t)number_of("--port", optarg, 0, UINT16_MAX);
			break;
		case 't':
			comma = strchr(optarg, ',');
			if (comma == NULL)
				refuse_arguments("--tls: two files, with a comma between them");
			*comma = '\0';
			settings->certificate_file = optarg;
			settings->private_key_file = comma + 1;
			break;
		case 'r':
			settings->refuse_status = (unsigned)number_of("--refuse", optarg, 429, 503);
			if (settings->refuse_status != 429 && settings->refuse_status != 503)
				refuse_arguments("--refuse: 429 or 503");
			break;
		case 'w':
			settings->wait_ms = (unsigned)number_of("--wait", optarg, 0, MS_MAX);
			break;
		case 'i':
			settings->lie_every = (unsigned)number_of("--lie", optarg, 1, UINT32_MAX);
			break;
		default:
			exit(EXIT_BAD_ARGUMENTS);
		}
	}
	if (optind < count)
		refuse_arguments("an argument too many");
}

static int
run_backend(int count, char **arguments)
{
	struct backend_settings settings;
	struct backend_counts counts;
	struct backend *backend;
	char fault[200];
	sigset_t signals;
	int signal_number;

	read_backend(count, arguments, &settings);
	(void)sigemptyset(&signals);
	(void)sigaddset(&signals, SIGTERM);
	(void)sigaddset(&signals, SIGINT);
	(void)sigprocmask(SIG_BLOCK, &signals, NULL);
	backend = backend_start(&settings, fault, sizeof(fault));
	if (backend == NULL) {
		fprintf(stderr, "aoai-bench: %s\n", fault);
		return EXIT_CANNOT_START;
	}
	printf("%u\n", backend_port(backend));
	fflush(stdout);
	(void)sigwait(&signals, &signal_number);
	backend_stop(&backend, &counts);
	printf("{\"connections\": %llu, \"requests\": %llu, \"refusals\": %llu, \"events\": %llu}\n",
	    (unsigned long long)counts.connections, (unsigned long long)counts.requests,
	    (unsigned long long)counts.refusals, (unsigned long long)counts.events);
	return 0;
}

/* ---- load ------------------------------------------------------------------------------------------------------ */

static void
read_load(int count, char **arguments, struct load_settings *settings)
{
	static const struct option known[] = { { "address", required_argument, NULL, 'a' },
		{ "port", required_argument, NULL, 'p' }, { "call", required_argument, NULL, 'c' },
		{ "connections", required_argument, NULL, 'n' }, { "names", required_argument, NULL, 'm' },
		{ "requests", required_argument, NULL, 'q' }, { "run", required_argument, NULL, 'r' },
		{ "warm", required_argument, NULL, 'w' }, { "addresses", required_argument, NULL, 's' },
		{ "tls", no_argument, NULL, 't' }, { "interactive", no_argument, NULL, 'i' }, { 0 } };
	int option;

	*settings = (struct load_settings){ .address = "127.0.0.1", .connections = 1 };
	if (!canned_read_name(SLICE("json"), &settings->call))
		refuse_arguments("json is no call");
	while ((option = getopt_long(count, arguments, "", known, NULL)) != -1) {
		switch (option) {
		case 'a':
			settings->address = optarg;
			break;
		case 'p':
			settings->port = (uint16_t)number_of("--port", optarg, 1, UINT16_MAX);
			break;
		case 'c':
			if (!canned_read_name(slice_from(optarg), &settings->call))
				refuse_arguments("--call: json, request_40k, answer_40k or stream-EVENTS-GAP_MS");
			break;
		case 'n':
			settings->connections = (unsigned)number_of("--connections", optarg, 1, CONNECTIONS_MAX);
			break;
		case 'm':
			settings->names = (unsigned)number_of("--names", optarg, 1, NAMES_MAX);
			break;
		case 'q':
			settings->requests = number_of("--requests", optarg, 1, UINT32_MAX);
			break;
		case 'r':
			settings->run_ms = number_of("--run", optarg, 1, MS_MAX);
			break;
		case 'w':
			settings->warm_ms = number_of("--warm", optarg, 0, MS_MAX);
			break;
		case 's':
			settings->addresses = (unsigned)number_of("--addresses", optarg, 1, ADDRESSES_MAX);
			break;
		case 't':
			settings->tls = true;
			break;
		case 'i':
			settings->interactive = true;
			break;
		default:
			exit(EXIT_BAD_ARGUMENTS);
		}
	}
	if (optind < count)
		refuse_arguments("an argument too many");
	if (settings->port == 0)
		refuse_arguments("--port is missing");
	if (settings->requests == 0 && settings->run_ms == 0 && !settings->interactive)
		refuse_arguments("when does it end? --requests or --run is missing");
}

static int
run_load(int count, char **arguments)
{
	struct load_settings settings;
	static struct load_result result;

	read_load(count, arguments, &settings);
	return load_run(&settings, &result) ? 0 : EXIT_ERRORS;
}

int
main(int count, char **arguments)
{
	(void)signal(SIGPIPE, SIG_IGN);
	if (count >= 2 && strcmp(arguments[1], "backend") == 0)
		return run_backend(count - 1, arguments + 1);
	if (count >= 2 && strcmp(arguments[1], "load") == 0)
		return run_load(count - 1, arguments + 1);
	fputs(usage, count == 2 && strcmp(arguments[1], "--help") == 0 ? stdout : stderr);
	return count == 2 && strcmp(arguments[1], "--help") == 0 ? 0 : EXIT_BAD_ARGUMENTS;
}

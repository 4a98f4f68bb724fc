/* aoai-sim: simulated Azure OpenAI resources, for a developer without a subscription. */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/log.h"
#include "base/slice.h"
#include "sim/config.h"
#include "sim/sim.h"

#define EXIT_BAD_CONFIG 1
#define EXIT_CANNOT_START 2
#define PORT_DEFAULT 8081
#define PORT_UNSET (-1)
#define LOG_STOP_MS 1000U

static const char usage[] =
    "Usage: aoai-sim [options]\n"
    "Simulates Azure OpenAI resources.\n"
    "\n"
    "  -c, --config FILE      what to simulate (see config/simulator.json); without it three resources\n"
    "                         openai1 to openai3 on ports 8081 to 8083 that take any key\n"
    "      --port PORT        the first resource's port, the next ones follow; 0: any free ones\n"
    "      --control-port PORT  serve GET /stats, GET, POST and DELETE /faults, POST /revoke,\n"
    "                         POST /reset; 0: any free port\n"
    "      --print-ports      print \"NAME PORT\" a line, for scripts\n"
    "      --version          print the version and stop\n"
    "      --help             print this and stop\n"
    "\n"
    "Exit status: 0 stopped by SIGTERM or SIGINT, 1 bad configuration or arguments, 2 cannot start.\n";

struct options {
	const char *config_file; /* NULL: the demo's */
	int port;                /* PORT_UNSET: as configured */
	int control_port;
	bool print_ports;
};

static bool
read_port(const char *option, const char *text, int *port)
{
	uint64_t number;

	if (slice_to_u64(slice_from(text), &number) && number <= 65535) {
		*port = (int)number;
		return true;
	}
	fprintf(stderr, "aoai-sim: --%s: \"%s\" is no port\n", option, text);
	return false;
}

/* -1: go on; else the exit status. */
static int
read_arguments(int count, char **arguments, struct options *options)
{
	enum { OPTION_PORT = 256, OPTION_CONTROL_PORT, OPTION_PRINT_PORTS, OPTION_VERSION, OPTION_HELP };
	static const struct option known[] = {
		{ "config", required_argument, NULL, 'c' },
		{ "port", required_argument, NULL, OPTION_PORT },
		{ "control-port", required_argument, NULL, OPTION_CONTROL_PORT },
		{ "print-ports", no_argument, NULL, OPTION_PRINT_PORTS },
		{ "version", no_argument, NULL, OPTION_VERSION },
		{ "help", no_argument, NULL, OPTION_HELP },
		{ NULL, 0, NULL, 0 },
	};
	int option;

	while ((option = getopt_long(count, arguments, "c:", known, NULL)) != -1) {
		switch (option) {
		case 'c':
			options->config_file = optarg;
			break;
		case OPTION_PORT:
			if (!read_port("port", optarg, &options->port))
				return EXIT_BAD_CONFIG;
			break;
		case OPTION_CONTROL_PORT:
			if (!read_port("control-port", optarg, &options->control_port))
				return EXIT_BAD_CONFIG;
			break;
		case OPTION_PRINT_PORTS:
			options->print_ports = true;
			break;
		case OPTION_VERSION:
			puts("aoai-sim " AOAI_LB_VERSION);
			return 0;
		case OPTION_HELP:
			fputs(usage, stdout);
			return 0;
		default:
			fputs("Try \"aoai-sim --help\".\n", stderr);
			return EXIT_BAD_CONFIG;
		}
	}
	if (optind == count)
		return -1;
	fprintf(stderr, "aoai-sim: \"%s\" is one argument too many\n", arguments[optind]);
	return EXIT_BAD_CONFIG;
}

/* The configuration before the options change it; NULL was reported. */
static json_t *
load(const struct options *options)
{
	struct slice demo = sim_demo_config();
	json_error_t error;
	json_t *root = options->config_file != NULL
	    ? json_load_file(options->config_file, JSON_REJECT_DUPLICATES, &error)
	    : json_loadb(demo.data, demo.length, 0, &error);

	if (root == NULL) {
		if (error.line < 0)
			fprintf(stderr, "aoai-sim: %s\n", error.text);
		else
			fprintf(stderr, "aoai-sim: %s: line %d, column %d: %s\n", options->config_file, error.line,
			    error.column, error.text);
		return NULL;
	}
	if (options->config_file == NULL)
		(void)json_object_set_new(root, "log", json_true());
	return root;
}

static void
apply_options(json_t *root, const struct options *options)
{
	json_t *resources = json_object_get(root, "resources"), *control = json_object_get(root, "control");
	int port = options->port;

	if (port == PORT_UNSET && options->config_file == NULL)
		port = PORT_DEFAULT;
	for (size_t i = 0; i < json_array_size(resources); i++) {
		json_t *resource = json_array_get(resources, i);

		if (port != PORT_UNSET)
			(void)json_object_set_new(resource, "port", json_integer(port == 0 ? 0 : port + (json_int_t)i));
		if (options->config_file == NULL)
			(void)json_object_set_new(resource, "api_key", json_string(""));
	}
	if (options->control_port == PORT_UNSET)
		return;
	if (control == NULL) {
		control = json_object();
		(void)json_object_set_new(root, "control", control);
	}
	(void)json_object_set_new(control, "port", json_integer(options->control_port));
}

/* The effective configuration as text, which the caller frees; NULL was reported. */
static char *
make_config(const struct options *options)
{
	char fault[SIM_FAULT_SIZE];
	struct sim_config *parsed = NULL;
	json_t *root = load(options);
	char *text;

	if (root == NULL)
		return NULL;
	apply_options(root, options);
	text = json_dumps(root, JSON_COMPACT);
	json_decref(root);
	if (text != NULL)
		parsed = sim_config_parse(slice_from(text), fault, sizeof(fault));
	if (parsed == NULL) {
		fprintf(stderr, "aoai-sim: %s\n", text != NULL ? fault : "the configuration is not UTF-8");
		free(text);
		return NULL;
	}
	sim_config_free(&parsed);
	return text;
}

static void
print_listener(const char *name, const char *scheme, const char *address, unsigned port, bool port_only)
{
	bool v6 = strchr(address, ':') != NULL;

	if (port_only)
		printf("%s %u\n", name, port);
	else
		printf("%s listening on %s://%s%s%s:%u\n", name, scheme, v6 ? "[" : "", address, v6 ? "]" : "", port);
}

static void
print_listeners(const struct sim *sim, bool ports_only)
{
	for (size_t i = 0; i < sim_resource_count(sim); i++)
		print_listener(sim_resource_name(sim, i), sim_resource_has_tls(sim, i) ? "https" : "http",
		    sim_resource_address(sim, i), sim_port(sim, i), ports_only);
	if (sim_control_port(sim) != 0)
		print_listener("control", "http", sim_control_address(sim), sim_control_port(sim), ports_only);
	fflush(stdout);
}

/* Until SIGTERM or SIGINT, which were blocked before any thread began. */
static int
serve(const char *config, const struct options *options, const sigset_t *awaited)
{
	char fault[SIM_FAULT_SIZE] = "";
	struct sim *sim;
	int signal_number;

	if (!log_start()) {
		fputs("aoai-sim: no thread for the log\n", stderr);
		return EXIT_CANNOT_START;
	}
	sim = sim_start(slice_from(config), fault, sizeof(fault));
	if (sim == NULL) {
		fprintf(stderr, "aoai-sim: %s\n", fault);
		log_stop(LOG_STOP_MS);
		return EXIT_CANNOT_START;
	}
	print_listeners(sim, options->print_ports);
	(void)sigwait(awaited, &signal_number);
	sim_stop(&sim);
	log_stop(LOG_STOP_MS);
	return 0;
}

int
main(int count, char **arguments)
{
	struct options options = { .port = PORT_UNSET, .control_port = PORT_UNSET };
	int status = read_arguments(count, arguments, &options);
	sigset_t awaited;
	char *config;

	if (status >= 0)
		return status;
	config = make_config(&options);
	if (config == NULL)
		return EXIT_BAD_CONFIG;
	sigemptyset(&awaited);
	sigaddset(&awaited, SIGTERM);
	sigaddset(&awaited, SIGINT);
	(void)pthread_sigmask(SIG_BLOCK, &awaited, NULL);
	(void)signal(SIGPIPE, SIG_IGN);
	log_configure(LOG_FORMAT_TEXT, LOG_INFO);
	status = serve(config, &options, &awaited);
	free(config);
	return status;
}

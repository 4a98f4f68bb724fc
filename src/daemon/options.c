#include "daemon/daemon.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { OPTION_CHECK = 256, OPTION_PRINT, OPTION_DEMO, OPTION_HEALTH, OPTION_VERSION, OPTION_HELP };

void
options_print_help(void)
{
	fputs("aoai-lb, a load balancer for Azure OpenAI\n"
	      "\n"
	      "usage: aoai-lb [-c|--config FILE] [--check-config | --print-config]\n"
	      "       aoai-lb --demo\n"
	      "       aoai-lb --health [URL]\n"
	      "\n"
	      "  -c, --config FILE  the configuration file (JSON). Without it: the environment form where a\n"
	      "                     BACKEND_n_URL is set, else " CONFIG_PATH_DEFAULT "\n"
	      "      --check-config print every fault of the configuration with its path; exit 0 or 1\n"
	      "      --print-config print the effective configuration, secrets left out\n"
	      "      --demo         run with a built-in simulator as three backends; needs no configuration\n"
	      "      --health [URL] ask a running daemon whether it lives; exit 0 or 1\n"
	      "      --version      print the version\n"
	      "      --help         print this text\n"
	      "\n"
	      "signals: TERM and INT drain and stop (a second one stops at once), HUP reloads the configuration\n",
	    stdout);
}

static bool
choose(struct options *options, enum command command)
{
	if (options->command != COMMAND_RUN && options->command != command) {
		fputs("aoai-lb: --check-config, --print-config, --demo and --health exclude each other\n", stderr);
		return false;
	}
	options->command = command;
	return true;
}

bool
options_parse(int argc, char *const *argv, struct options *options)
{
	static const struct option names[] = {
		{ "config", required_argument, NULL, 'c' },
		{ "check-config", no_argument, NULL, OPTION_CHECK },
		{ "print-config", no_argument, NULL, OPTION_PRINT },
		{ "demo", no_argument, NULL, OPTION_DEMO },
		{ "health", no_argument, NULL, OPTION_HEALTH },
		{ "version", no_argument, NULL, OPTION_VERSION },
		{ "help", no_argument, NULL, OPTION_HELP },
		{ NULL, 0, NULL, 0 },
	};
	int option;

	*options = (struct options){ .command = COMMAND_RUN };
	while ((option = getopt_long(argc, argv, "c:", names, NULL)) != -1) {
		bool ok = true;

		switch (option) {
		case 'c':
			options->config_file = optarg;
			break;
		case OPTION_CHECK:
			ok = choose(options, COMMAND_CHECK);
			break;
		case OPTION_PRINT:
			ok = choose(options, COMMAND_PRINT);
			break;
		case OPTION_DEMO:
			ok = choose(options, COMMAND_DEMO);
			break;
		case OPTION_HEALTH:
			ok = choose(options, COMMAND_HEALTH);
			break;
		case OPTION_VERSION:
			options->command = COMMAND_VERSION;
			return true;
		case OPTION_HELP:
			options->command = COMMAND_HELP;
			return true;
		default:
			return false; /* getopt has said why */
		}
		if (!ok)
			return false;
	}
	if (options->command == COMMAND_HEALTH && optind < argc)
		options->health_url = argv[optind++];
	if (optind < argc) {
		fprintf(stderr, "aoai-lb: unexpected argument: %s (see --help)\n", argv[optind]);
		return false;
	}
	return true;
}

static const char *
look_up_environment(const char *name, void *context)
{
	(void)context;
	return getenv(name);
}

struct config *
options_load_config(const struct options *options, struct config_faults *faults)
{
	if (options->config_file != NULL)
		return config_load_file(options->config_file, look_up_environment, NULL, faults);
	if (config_environment_present(environ))
		return config_load_environment(environ, look_up_environment, NULL, faults);
	return config_load_file(CONFIG_PATH_DEFAULT, look_up_environment, NULL, faults);
}

struct config *
options_load_demo(const char *text, struct config_faults *faults)
{
	return config_load_text(slice_from(text), look_up_environment, NULL, faults);
}

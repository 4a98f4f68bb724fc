/* aoai-lb: arguments, start, exit codes. */
#include <stdio.h>
#include <stdlib.h>

#include "base/buffer.h"
#include "daemon/daemon.h"
#include "sim/sim.h"

static int
refuse_config(struct config_faults *faults)
{
	config_faults_print(faults, stderr);
	config_faults_free(faults);
	return EXIT_BAD_CONFIG;
}

static int
run_demo(struct options *options)
{
	struct config_faults faults = { 0 };
	struct config *config;
	struct sim *sim = NULL;
	char *text = demo_start(&sim);
	int code;

	if (text == NULL)
		return EXIT_NO_START;
	config = options_load_demo(text, &faults);
	free(text);
	code = config != NULL ? daemon_run(options, config) : refuse_config(&faults);
	sim_stop(&sim);
	return code;
}

static int
run_with_config(struct options *options)
{
	struct config_faults faults = { 0 };
	struct config *config = options_load_config(options, &faults);
	struct buffer text = { 0 };

	if (config == NULL)
		return refuse_config(&faults);
	if (options->command == COMMAND_RUN)
		return daemon_run(options, config);
	if (options->command == COMMAND_PRINT) {
		config_print(config, &text);
		printf("%.*s\n", (int)text.length, text.data);
		buffer_free(&text);
	} else {
		puts("The configuration is good.");
	}
	config_release(&config);
	return EXIT_STOPPED;
}

int
main(int argc, char **argv)
{
	struct options options;

	if (!options_parse(argc, argv, &options))
		return EXIT_BAD_CONFIG;
	switch (options.command) {
	case COMMAND_VERSION:
		puts("aoai-lb " AOAI_LB_VERSION);
		return EXIT_STOPPED;
	case COMMAND_HELP:
		options_print_help();
		return EXIT_STOPPED;
	case COMMAND_HEALTH:
		return health_check(&options);
	case COMMAND_DEMO:
		daemon_hold_signals();
		return run_demo(&options);
	case COMMAND_RUN:
		daemon_hold_signals();
		break;
	case COMMAND_CHECK:
	case COMMAND_PRINT:
		break;
	}
	return run_with_config(&options);
}

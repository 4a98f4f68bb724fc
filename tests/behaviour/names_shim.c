/* Preloaded into the daemon by harness/names.py: getaddrinfo() answers from the file NAMES_FILE, whose lines are a name and
 * its addresses, in that order; "hangs" in the place of an address: the look-up never ends. Of other names it knows those
 * that do not end in .test, as ever. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef int look_up_fn(const char *, const char *, const struct addrinfo *, struct addrinfo **);

int
getaddrinfo(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **found)
{
	look_up_fn *real = (look_up_fn *)dlsym(RTLD_NEXT, "getaddrinfo");
	const char *end = name != NULL ? strrchr(name, '.') : NULL;
	FILE *file;
	struct addrinfo literal = *hints, **tail = found;
	char line[1000];

	if (end == NULL || strcmp(end, ".test") != 0)
		return real(name, service, hints, found);
	*found = NULL;
	file = fopen(getenv("NAMES_FILE"), "r");
	literal.ai_flags = AI_NUMERICHOST;
	while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
		char *rest = line, *word = strsep(&rest, " \n");

		if (strcmp(word, name) != 0)
			continue;
		while ((word = strsep(&rest, " \n")) != NULL) {
			while (strcmp(word, "hangs") == 0)
				pause();
			if (word[0] == '\0' || real(word, service, &literal, tail) != 0)
				continue;
			while (*tail != NULL)
				tail = &(*tail)->ai_next;
		}
	}
	if (file != NULL)
		fclose(file);
	return *found != NULL ? 0 : EAI_NONAME;
}

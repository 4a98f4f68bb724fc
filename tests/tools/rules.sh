#!/bin/sh
# The project's own rules for its sources (CONTRIBUTING.md says why), each fault with its place.
set -u
cd "$(dirname "$0")/../.." || exit 1
faults=0

# report WHAT PLACES: nothing where there are no places.
report() {
	[ -n "$2" ] || return 0
	printf '%s:\n%s\n' "$1" "$2"
	faults=$((faults + 1))
}

# Source lines without comment lines.
lines() {
	pattern=$1
	shift
	grep -rnE --include='*.c' --include='*.h' "$pattern" "$@" 2>/dev/null | grep -vE '^[^:]*:[0-9]*:[[:space:]]*(\*|/\*|//)'
}

report "a file of more than 1000 lines, to be split by job" \
	"$(find src include tests -name node_modules -prune -o -name '*.[ch]' -exec wc -l {} + | awk '$2 != "total" && $1 > 1000 { print $2 ": " $1 }')"
report "a pure room that includes I/O" \
	"$(lines '#[[:space:]]*include[[:space:]]*[<"](event2/|curl/|openssl/|sys/socket|netinet/|netdb|sys/epoll|poll\.h)' \
		src/http src/policy include/http include/policy)"
report "a call that has no place on what a stranger sent" \
	"$(lines '\b(v?sscanf|strtok|strtol|strtoll|strtoul|strtoull|strtod|ato[ifl]|atoll|strcpy|strncpy|strcat|strncat|v?sprintf|gets)[[:space:]]*\(' \
		src include)"
report "an unfinished place" "$(lines '\b(TODO|FIXME|XXX|HACK)\b' src include)"

# A room includes only rooms above it: below(room) lists what it may see, beside itself.
for room in base http policy config net identity proxy admin sim bench; do
	case $room in
	base) allowed='base' ;;
	http) allowed='base|http' ;;
	policy) allowed='base|http|policy' ;;
	config) allowed='base|http|policy|config' ;;
	net) allowed='base|net' ;;
	identity) allowed='base|http|policy|config|identity' ;;
	proxy) allowed='base|http|policy|config|net|identity|proxy' ;;
	admin) allowed='base|http|policy|config|net|identity|proxy|admin' ;;
	sim | bench) allowed="base|http|net|$room" ;;
	esac
	for directory in "src/$room" "include/$room"; do
		[ -d "$directory" ] || continue
		report "$directory includes a room that it must not know" \
			"$(lines '#[[:space:]]*include[[:space:]]*"[a-z]+/' "$directory" | grep -vE "include[[:space:]]*\"($allowed)/")"
	done
done

# Each instruction of the Dockerfile on one line, without comments.
instructions=$(grep -vE '^[[:space:]]*#' Dockerfile | sed -e ':again' -e '/\\$/{' -e 'N' -e 's/\\\n[[:space:]]*//' -e 'b again' -e '}')
known='FROM|RUN|WORKDIR|COPY|ADD|ENV|ARG|LABEL|USER|EXPOSE|HEALTHCHECK|ENTRYPOINT|CMD|STOPSIGNAL|VOLUME'
report "the Dockerfile: an unknown instruction" "$(printf '%s\n' "$instructions" | grep -vE "^($known) [^ ]|^$")"
report "the Dockerfile: not every image builder knows syntax lines, digests and heredocs" \
	"$(grep -nE '^#[[:space:]]*syntax=|@sha256:|<<' Dockerfile)"
report "the Dockerfile: an unprivileged user, a health check and an entry point, all without a shell" "$(
	for instruction in 'USER [1-9]' 'HEALTHCHECK .*CMD \[".*"\]$' 'ENTRYPOINT \[".*"\]$'; do
		printf '%s\n' "$instructions" | grep -qE "^$instruction" || echo "no $instruction"
	done
)"

[ "$faults" = 0 ]

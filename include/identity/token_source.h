/* identity/token_source.h: where an identity's tokens come from, and the request that asks there.
 *
 * A source is what an `auth` of the configuration and the environment say together:
 *
 *	managed_identity	IDENTITY_ENDPOINT and IDENTITY_HEADER (Container Apps, App Service): that endpoint; else the
 *				metadata service of the VM (AZURE_POD_IDENTITY_AUTHORITY_HOST, or 169.254.169.254)
 *	workload_identity	Entra ID, with the signed statement in AZURE_FEDERATED_TOKEN_FILE
 *	client_secret		Entra ID, with the application's secret
 *
 * A source owns its texts; it is made once and not changed. The request holds secrets and is wiped when freed.
 */
#ifndef IDENTITY_TOKEN_SOURCE_H
#define IDENTITY_TOKEN_SOURCE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buffer.h"
#include "base/compiler.h"
#include "config/config.h"

/* The signed statement of a workload; Kubernetes' are about a kilobyte. */
#define TOKEN_ASSERTION_MAX_BYTES 65536U

enum token_service { SERVICE_APP, SERVICE_METADATA, SERVICE_ENTRA };

struct token_source {
	enum auth_type type;
	enum token_service service;
	char *client_id; /* "": the one identity that there is */
	char *tenant_id;
	char *client_secret; /* secret */
	char *scope;
	char *place;          /* the endpoint's URL, the metadata service's or the authority's base */
	char *place_header;   /* of SERVICE_APP: IDENTITY_HEADER; secret */
	char *assertion_file; /* of a workload identity */
};

struct token_request {
	bool post;            /* form is its body; else a GET */
	bool may_be_proxied;  /* only Entra ID: the other services are this machine's own */
	struct buffer url;    /* NUL-terminated, as is header */
	struct buffer header; /* "name: value", or empty */
	struct buffer form;
	struct buffer secret; /* what no error may repeat: the secret, the statement or the header's value */
};

/* What auth, which is of one of the three types, means in this environment. */
struct token_source token_source_make(const struct config_auth *auth, config_getenv_fn *getenv_fn, void *context);
bool token_source_equals(const struct token_source *a, const struct token_source *b);
/* Wipes and frees. */
void token_source_free(struct token_source *source);

/* Builds the request, reading the workload's statement anew. False with the reason in fault; the request is freed by
 * token_request_free() in any case. */
bool token_request_make(const struct token_source *source, struct token_request *request, char *fault,
    size_t fault_size) MUST_CHECK;
void token_request_free(struct token_request *request);

/* As the log calls it: "managed identity 1234-…", "the system-assigned managed identity". */
void token_source_describe(const struct token_source *source, char *out, size_t size);

#endif

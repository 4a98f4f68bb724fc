"""A token endpoint as Microsoft's public documents have it, and backends that look at the token they are sent.

Container Apps and App Service: learn.microsoft.com/azure/app-service/overview-managed-identity (REST endpoint reference);
the VM's metadata service: …/entra/identity/managed-identities-azure-resources/how-to-use-vm-token; Entra ID:
…/entra/identity-platform/v2-oauth2-client-creds-grant-flow.
"""
import threading
import time
import urllib.parse

from . import answers
from .backend import Backend

RESOURCE = "https://cognitiveservices.azure.com"
SCOPE = RESOURCE + "/.default"
APP_HEADER = "853b9a84-5bfa-4b22-a3f3-0b9a43d9ad8a"
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


def iso_date(unix):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(unix))


def app_service_date(unix):
    return time.strftime("%m/%d/%Y %H:%M:%S +00:00", time.gmtime(unix))


# The ways in which an answer may say until when its token is good.
ENDS = {
    "number": lambda now, life: {"expires_on": int(now + life)},
    "text": lambda now, life: {"expires_on": str(int(now + life))},
    "iso_date": lambda now, life: {"expires_on": iso_date(now + life)},
    "app_service_date": lambda now, life: {"expires_on": app_service_date(now + life)},
    "seconds": lambda now, life: {"expires_in": int(life)},
    "seconds_text": lambda now, life: {"expires_in": str(int(life))},
    "both": lambda now, life: {"expires_on": str(int(now + life)), "expires_in": "86400"},
}


class Issuer(Backend):
    """Issues tokens token-1, token-2, … to whoever asks in the way of one of the three services.

    life	seconds that a token lives
    slack	seconds for which its end is overlooked: a loaded machine may take long to look at a token
    end		a key of ENDS
    Scripted answers come first, as with any Backend.
    """

    def __init__(self, *script, life=3600, slack=0, end="text", tls=None, **options):
        self.life = life
        self.slack = slack
        self.end = end
        self.issued = {}  # token → end, in seconds of time.time()
        self.revoked = set()
        self.asking = 0
        self.most_asking = 0
        self.lock = threading.Lock()
        super().__init__(*script, default=self.answer, tls=tls, **options)

    def answer(self, exchange):
        fault = fault_of(exchange.request)
        if fault:
            answers.answer(400, body={"error": "invalid_request", "error_description": fault})(exchange)
            return
        with self.lock:
            self.asking += 1
            self.most_asking = max(self.most_asking, self.asking)
        self.grant(exchange)
        with self.lock:
            self.asking -= 1

    def grant(self, exchange):
        now = time.time()
        end = ENDS[self.end](now, self.life)
        with self.lock:
            token = f"token-{len(self.issued) + 1}.{exchange.request.connection}"
            self.issued[token] = int(now + self.life) if "expires_on" in end else now + self.life
        body = {"access_token": token, "resource": RESOURCE, "token_type": "Bearer", **end}
        answers.answer(200, [("Content-Type", "application/json")], body)(exchange)

    def refuses(self, authorization):
        """Why a resource would not take this Authorization; None: it does."""
        scheme, _, token = (authorization or "").partition(" ")
        with self.lock:
            if scheme != "Bearer" or token not in self.issued:
                return f"unknown token {authorization!r}"
            if token in self.revoked:
                return "revoked"
            return None if time.time() < self.issued[token] + self.slack else "expired"

    def revoke(self):
        """Every token so far is refused from now on."""
        with self.lock:
            self.revoked.update(self.issued)

    def app_environment(self):
        return {"IDENTITY_ENDPOINT": self.url + "/msi/token", "IDENTITY_HEADER": APP_HEADER}

    def metadata_environment(self):
        return {"AZURE_POD_IDENTITY_AUTHORITY_HOST": self.url}


def fault_of(request):
    """What the documents would have otherwise; None: nothing."""
    query = dict(urllib.parse.parse_qsl(request.query, strict_parsing=True)) if request.query else {}
    if request.path.endswith("/oauth2/v2.0/token"):
        form = dict(urllib.parse.parse_qsl(request.body.decode(), strict_parsing=True))
        if request.method != "POST" or query:
            return "a form is to be posted"
        if request.header("content-type") != "application/x-www-form-urlencoded":
            return "its type is application/x-www-form-urlencoded"
        if form.get("grant_type") != "client_credentials" or "client_id" not in form or "/.default" not in form["scope"]:
            return f"not the client credentials flow: {sorted(form)}"
        if form.get("client_assertion_type", ASSERTION_TYPE) != ASSERTION_TYPE:
            return "an unknown client_assertion_type"
        return None if ("client_secret" in form) != ("client_assertion" in form) else "one credential"
    if request.method != "GET" or request.body:
        return "GET, without a body"
    if request.path == "/metadata/identity/oauth2/token":
        right = request.header("metadata") == "true" and query.get("api-version") == "2018-02-01"
    else:
        right = request.header("x-identity-header") == APP_HEADER and query.get("api-version") == "2019-08-01"
    return None if right and query.get("resource") else f"headers or query are wrong: {request.target}"


def checked(issuer, then=None):
    """A backend's answer: 401 as Azure has it unless the token is good."""

    def speak(exchange):
        fault = issuer.refuses(exchange.request.header("authorization"))
        if fault:
            exchange.backend.refusals.append(fault)
            answers.error(401, "Unauthorized", "Access token is missing, invalid, audience is incorrect, or has expired.")(
                exchange)
        else:
            (then or answers.ok())(exchange)

    return speak


def backend_of(stage, issuer, **options):
    """A resource that takes the issuer's tokens; refusals: what was wrong with those it did not take."""
    backend = stage.backend(default=checked(issuer), **options)
    backend.refusals = []
    return backend


def issuer_on(stage, *script, **options):
    issuer = Issuer(*script, **options)
    stage.backends.append(issuer)
    return issuer

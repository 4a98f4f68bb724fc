"""Backends without keys: where tokens are asked for, and that the backends get them."""
import os
import pathlib
import re
import shutil
import subprocess
import sys
import urllib.parse

import pytest

from harness import answers
from harness.daemon import CHAT_PATH, program
from harness.stage import make_config
from harness.tokens import APP_HEADER, ASSERTION_TYPE, ENDS, RESOURCE, SCOPE, backend_of, issuer_on

MANAGED = {"type": "managed_identity"}
TENANT = "72f988bf-86f1-41af-91ab-2d7cd011db47"
CLIENT = "11111111-2222-3333-4444-555555555555"
SECRET = "s3cr3t~with/odd+bytes&="
STATEMENT = "eyJhbGciOiJSUzI1NiJ9.c3RhdGVtZW50.c2lnbmVk"
KEYS_OF_CALLERS = [("api-key", "callers-key"), ("Authorization", "Bearer callers-token")]


def query_of(request):
    return dict(urllib.parse.parse_qsl(request.query, strict_parsing=True))


def form_of(request):
    return dict(urllib.parse.parse_qsl(request.body.decode(), strict_parsing=True))


def check_served(daemon, backend, issuer):
    """The backend is sent the token and nothing of the caller's."""
    assert daemon.chat(KEYS_OF_CALLERS).status == 200
    request = backend.requests[-1]
    assert request.headers.all("authorization") == ["Bearer " + list(issuer.issued)[-1]]
    assert request.header("api-key") is None
    assert b"callers-" not in request.head


# ---- the forms -----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("client_id", [None, CLIENT], ids=["system-assigned", "user-assigned"])
def test_container_apps_are_asked_with_their_header(stage, client_id):
    issuer = issuer_on(stage)
    backend = backend_of(stage, issuer)
    auth = {**MANAGED, **({"client_id": client_id} if client_id else {})}
    daemon = stage.daemon([backend.entry(auth=auth)], environment=issuer.app_environment())
    check_served(daemon, backend, issuer)
    request = issuer.request
    assert (request.method, request.path) == ("GET", "/msi/token")
    assert request.header("x-identity-header") == APP_HEADER
    assert query_of(request) == {"api-version": "2019-08-01", "resource": RESOURCE,
                                 **({"client_id": client_id} if client_id else {})}


@pytest.mark.parametrize("client_id", [None, CLIENT], ids=["system-assigned", "user-assigned"])
def test_a_vm_is_asked_by_its_metadata_service(stage, client_id):
    issuer = issuer_on(stage)
    backend = backend_of(stage, issuer)
    auth = {**MANAGED, **({"client_id": client_id} if client_id else {})}
    daemon = stage.daemon([backend.entry(auth=auth)], environment=issuer.metadata_environment())
    check_served(daemon, backend, issuer)
    request = issuer.request
    assert (request.method, request.path) == ("GET", "/metadata/identity/oauth2/token")
    assert request.header("metadata") == "true"
    assert query_of(request) == {"api-version": "2018-02-01", "resource": RESOURCE,
                                 **({"client_id": client_id} if client_id else {})}


def test_an_application_proves_itself_with_its_secret(stage, certificates):
    issuer = issuer_on(stage, tls=certificates.server(), end="seconds")
    backend = backend_of(stage, issuer)
    auth = {"type": "client_secret", "client_id": CLIENT, "tenant_id": TENANT, "client_secret": SECRET,
            "authority_host": issuer.url}
    daemon = stage.daemon([backend.entry(auth=auth)], environment={"SSL_CERT_FILE": str(certificates.ca_file)})
    check_served(daemon, backend, issuer)
    request = issuer.request
    assert (request.method, request.target) == ("POST", f"/{TENANT}/oauth2/v2.0/token")
    assert form_of(request) == {"client_id": CLIENT, "scope": SCOPE, "grant_type": "client_credentials",
                                "client_secret": SECRET}


def test_a_sovereign_cloud_has_its_own_authority_and_scope(stage, certificates):
    issuer = issuer_on(stage, tls=certificates.server(), end="seconds")
    backend = backend_of(stage, issuer)
    scope = "https://cognitiveservices.azure.us/.default"
    auth = {"type": "client_secret", "client_id": CLIENT, "tenant_id": TENANT, "client_secret": SECRET,
            "authority_host": issuer.url + "/", "scope": scope}
    daemon = stage.daemon([backend.entry(auth=auth)], environment={"SSL_CERT_FILE": str(certificates.ca_file)})
    check_served(daemon, backend, issuer)
    assert issuer.request.target == f"/{TENANT}/oauth2/v2.0/token"
    assert form_of(issuer.request)["scope"] == scope


def test_a_managed_identity_in_a_sovereign_cloud_names_its_resource(stage):
    issuer = issuer_on(stage)
    backend = backend_of(stage, issuer)
    auth = {**MANAGED, "scope": "https://cognitiveservices.azure.cn/.default"}
    daemon = stage.daemon([backend.entry(auth=auth)], environment=issuer.app_environment())
    check_served(daemon, backend, issuer)
    assert query_of(issuer.request)["resource"] == "https://cognitiveservices.azure.cn"


def test_a_workloads_statement_is_read_anew_at_each_fetch(stage, certificates):
    issuer = issuer_on(stage, tls=certificates.server(), end="seconds", life=2)
    backend = backend_of(stage, issuer)
    path = stage.directory() / "statement"
    path.write_text(STATEMENT + "1\n")
    auth = {"type": "workload_identity", "client_id": CLIENT, "tenant_id": TENANT, "authority_host": issuer.url}
    daemon = stage.daemon([backend.entry(auth=auth)], environment={
        "SSL_CERT_FILE": str(certificates.ca_file), "AZURE_FEDERATED_TOKEN_FILE": str(path)})
    issuer.await_requests(1)
    new = path.with_suffix(".new")
    new.write_text(STATEMENT + "2\n")
    os.rename(new, path)  # as the platform does it
    seen = len(issuer.requests)
    issuer.await_requests(seen + 2)
    assert daemon.chat().status == 200
    first, later = form_of(issuer.requests[0]), form_of(issuer.requests[seen + 1])
    assert first == {"client_id": CLIENT, "scope": SCOPE, "grant_type": "client_credentials",
                     "client_assertion_type": ASSERTION_TYPE, "client_assertion": STATEMENT + "1"}
    assert later["client_assertion"] == STATEMENT + "2"


def test_the_environment_form_without_a_key_is_a_managed_identity(stage):
    issuer = issuer_on(stage)
    backend = backend_of(stage, issuer)
    daemon = stage.start(environment={"BACKEND_1_URL": backend.url, "PORT": "0", "ADMIN_PORT": "0",
                                      "AZURE_CLIENT_ID": CLIENT, **issuer.app_environment()})
    check_served(daemon, backend, issuer)
    assert query_of(issuer.request)["client_id"] == CLIENT


@pytest.mark.parametrize("end", ENDS)
def test_every_form_of_a_tokens_end_is_understood(stage, end):
    issuer = issuer_on(stage, life=3600, end=end)
    backend = backend_of(stage, issuer)
    daemon = stage.daemon([backend.entry(auth=MANAGED)], environment=issuer.app_environment(), log={"level": "debug"})
    check_served(daemon, backend, issuer)
    line = daemon.wait_for_line("A new token for the system-assigned managed identity, valid for")
    assert 3500 <= int(line.split("valid for ")[1].split()[0]) <= 3600


# ---- what is not trusted -------------------------------------------------------------------------------------------

def test_the_metadata_service_is_never_asked_through_a_proxy(stage):
    issuer = issuer_on(stage)
    proxy = stage.backend()
    backend = backend_of(stage, issuer)
    daemon = stage.daemon([backend.entry(auth=MANAGED)], environment={
        **issuer.metadata_environment(), "http_proxy": proxy.url, "HTTP_PROXY": proxy.url, "all_proxy": proxy.url})
    check_served(daemon, backend, issuer)
    assert proxy.accepted == 0


def test_entra_id_is_asked_through_the_proxy_of_the_environment(stage, certificates):
    proxy = stage.backend(default=answers.answer(403, body=b"no"))
    backend = stage.backend()
    auth = {"type": "client_secret", "client_id": CLIENT, "tenant_id": TENANT, "client_secret": SECRET}
    stage.daemon([backend.entry(auth=auth)], environment={
        "https_proxy": proxy.url, "SSL_CERT_FILE": str(certificates.ca_file)})
    proxy.await_requests(1)
    assert proxy.requests[0].method == "CONNECT"
    assert proxy.requests[0].target == "login.microsoftonline.com:443"


@pytest.mark.parametrize("name", ["self", "stranger", "expired"])
def test_a_false_authority_gets_no_secret(stage, certificates, name):
    issuer = issuer_on(stage, tls=certificates.server(name))
    backend = stage.backend()
    auth = {"type": "client_secret", "client_id": CLIENT, "tenant_id": TENANT, "client_secret": SECRET,
            "authority_host": issuer.url}
    daemon = stage.daemon([backend.entry(auth=auth)], environment={"SSL_CERT_FILE": str(certificates.ca_file)})
    daemon.wait_for_line("No new token for application " + CLIENT)
    assert not issuer.requests
    assert not backend.requests


def test_a_redirect_is_not_followed(stage):
    elsewhere = stage.backend()
    issuer = issuer_on(stage, answers.answer(302, [("Location", elsewhere.url + "/token")]))
    backend = stage.backend()
    daemon = stage.daemon([backend.entry(auth=MANAGED)], environment=issuer.app_environment())
    daemon.wait_for_line("No new token for the system-assigned managed identity: it answered 302")
    assert elsewhere.accepted == 0


def test_no_secret_is_in_the_log_at_any_level(stage, certificates):
    """Not when all goes well, not when the endpoint repeats what it was sent, not in the printed configuration."""
    echo = answers.answer(400, body={"error": "invalid_client", "error_description": f"bad secret {SECRET}"})
    entra = issuer_on(stage, echo, tls=certificates.server())
    app = issuer_on(stage, answers.answer(403, body={"message": "no such header: " + APP_HEADER, "correlationId": "1"}),
                    answers.answer(200, body={"access_token": "token-odd token", "expires_in": 60}))
    backends = [backend_of(stage, app), backend_of(stage, entra)]
    auth = {"type": "client_secret", "client_id": CLIENT, "tenant_id": TENANT, "client_secret": SECRET,
            "authority_host": entra.url}
    daemon = stage.daemon([backends[0].entry(auth=MANAGED), backends[1].entry(auth=auth)], log={"level": "debug"},
                          environment={**app.app_environment(), "SSL_CERT_FILE": str(certificates.ca_file)})
    daemon.wait_for_line("No new token for application " + CLIENT + ".*repeats the secret")
    daemon.wait_for_line("No new token for the system-assigned managed identity.*repeats the secret")
    daemon.chat(KEYS_OF_CALLERS)
    printed = subprocess.run([program("AOAI_LB", "aoai-lb"), "--config", str(daemon.config_path), "--print-config"],
                             check=True, capture_output=True, text=True).stdout
    daemon.stop()
    for text in ["\n".join(daemon.lines + daemon.errors), printed]:
        for secret in [SECRET, APP_HEADER, "callers-"] + list(app.issued) + list(entra.issued):
            assert secret not in text


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("unshare") is None or
                    subprocess.run(["unshare", "-n", "ip", "link", "set", "lo", "up"], check=False,
                                   capture_output=True).returncode != 0,
                    reason="needs root and network namespaces of its own")
def test_the_metadata_service_is_found_at_its_own_address():
    """In a network of its own, where 169.254.169.254 is the twin's."""
    inside = pathlib.Path(__file__).with_name("inside_own_network.py")
    script = (f"ip link set lo up && ip addr add 169.254.169.254/32 dev lo && exec {sys.executable} -m pytest -q "
              f"-p no:cacheprovider {inside}")
    done = subprocess.run(["unshare", "-n", "sh", "-c", script], check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout, done.stdout


def test_a_workload_without_its_statement_is_a_fault_of_the_configuration(stage):
    path = stage.directory() / "config.json"
    path.write_text('{ "backends": [ { "name": "a", "url": "https://a.test", "auth": { "type": "workload_identity", '
                    '"client_id": "c", "tenant_id": "t" } } ] }')
    done = subprocess.run([program("AOAI_LB", "aoai-lb"), "--config", str(path), "--check-config"], check=False,
                          capture_output=True, text=True, env={"PATH": os.environ["PATH"]})
    assert done.returncode == 1
    assert "backends[0].auth.type" in done.stderr and "AZURE_FEDERATED_TOKEN_FILE" in done.stderr


def test_only_a_daemon_with_identities_loads_libcurl(stage):
    issuer = issuer_on(stage)
    keyed = stage.daemon([stage.backend().entry(auth={"type": "api_key", "key": "k"})])
    keyless = stage.daemon([backend_of(stage, issuer).entry(auth=MANAGED)], environment=issuer.app_environment())
    loaded = []
    for daemon in (keyed, keyless):
        daemon.post(CHAT_PATH, {"messages": []})
        try:
            with open(f"/proc/{daemon.process.pid}/maps", encoding="ascii") as maps:
                loaded.append("libcurl" in maps.read())
        except PermissionError:
            pytest.skip("the daemon lets nobody but root look at its memory map")
    assert loaded == [False, True]


CURL_FUNCTIONS = """global_init easy_init easy_setopt easy_getinfo easy_cleanup easy_strerror slist_append slist_free_all
multi_init multi_cleanup multi_add_handle multi_remove_handle multi_perform multi_poll multi_wakeup multi_info_read""".split()


def old_libcurl():
    """One that has all the functions, and not yet all their options."""
    functions = "\n".join(f"int curl_{name}(void) {{ return 0; }}" for name in CURL_FUNCTIONS)
    return functions + """
static struct { int age; const char *version; unsigned version_num; char rest[500]; } info = { 9, "7.81.0", 0x075100, "" };
void *curl_version_info(int age) { (void)age; return &info; }
"""


@pytest.mark.parametrize("source, reason", [(None, "cannot be loaded"), ("int nothing;", "has no curl_version_info"),
                                            (old_libcurl(), "7.81.0 is too old.*7.85")],
                         ids=["broken", "without its functions", "too old"])
def test_without_a_usable_libcurl_the_daemon_does_not_start_and_says_why(stage, source, reason):
    directory = stage.directory()
    if source is None:
        (directory / "libcurl.so.4").write_bytes(b"no library at all" * 10)
    else:
        (directory / "curl.c").write_text(source)
        subprocess.run(["cc", "-shared", "-fPIC", "-o", str(directory / "libcurl.so.4"), str(directory / "curl.c")],
                       check=True)
    daemon = stage.start(make_config([{"url": "http://127.0.0.1:1", "auth": MANAGED}]), ready=False,
                         environment={"LD_LIBRARY_PATH": str(directory)})
    assert daemon.wait() == 2
    daemon.ended()
    assert re.search("libcurl.*" + reason, "\n".join(daemon.errors))

"""Identity endpoints at their worst: what must not follow from it, for secrets, for others, for the daemon's end."""
import json
import signal
import socket
import ssl
import urllib.parse

import pytest

from harness import answers
from harness.client import wait_for
from harness.stage import make_config
from harness.tokens import backend_of, issuer_on
from test_admin import Admin

MANAGED = {"type": "managed_identity"}
KEY = {"type": "api_key", "key": "key-of-two"}
# What a platform signs for a workload: longer than any line of the log shows of an error.
STATEMENT = "eyJhbGciOiJSUzI1NiJ9." + "c3RhdGVtZW50LW9mLXRoZS13b3JrbG9hZA" * 20 + ".c2lnbmVk"
ODD_SECRET = "quote\"and\\slash/tilde~and&the=rest"


# ---- secrets -------------------------------------------------------------------------------------------------------

# How an endpoint may repeat what it was sent: by the client_id that asks.
ECHOES = {
    "whole": lambda secret: {"error": "invalid_client", "error_description": f"bad: {secret}"},
    "cut": lambda secret: {"error": "invalid_client", "error_description": f"bad: {secret[:-5]}"},
    "in-pieces": lambda secret: {"error": "invalid_client", "error_description": f"bad: {secret[4:-4]}!"},
    "encoded": lambda secret: {"error": "invalid_client", "error_description": "bad: " + urllib.parse.quote(secret, safe="")},
    "as-message": lambda secret: {"message": secret},
    "as-code": lambda secret: {"error": {"code": secret[:24], "message": "no"}},
    "as-error": lambda secret: {"error": secret},
}


def repeat_secret(exchange):
    form = dict(urllib.parse.parse_qsl(exchange.request.body.decode(), strict_parsing=True))
    answer = ECHOES[form["client_id"]](form.get("client_secret") or form["client_assertion"])
    answers.answer(401, body=answer)(exchange)


@pytest.mark.parametrize("kind", ["client_secret", "workload_identity"])
def test_no_part_of_a_secret_that_an_endpoint_repeats_is_logged(stage, certificates, kind):
    issuer = issuer_on(stage, tls=certificates.server())
    issuer.default = repeat_secret
    path = stage.directory() / "statement"
    path.write_text(STATEMENT)
    auth = {"type": kind, "tenant_id": "t", "authority_host": issuer.url}
    if kind == "client_secret":
        auth["client_secret"] = ODD_SECRET
    url = stage.backend().url
    daemon = stage.start(make_config([], {
        "backends": [{"name": echo, "url": url, "auth": {**auth, "client_id": echo}} for echo in ECHOES],
        "log": {"format": "json", "level": "debug"}}), environment={
            "SSL_CERT_FILE": str(certificates.ca_file), "AZURE_FEDERATED_TOKEN_FILE": str(path)})
    for echo in ECHOES:
        line = daemon.wait_for_line(f"No new token for .* {echo}: it answered 401")
        assert "is not shown" in json.loads(line)["message"]
    secret = ODD_SECRET if kind == "client_secret" else STATEMENT
    everything = "\n".join(daemon.lines + daemon.errors)
    for text in (everything, everything.replace("\\\\", "\\").replace('\\"', '"')):
        for start in range(0, len(secret) - 8):
            assert secret[start:start + 8] not in text


# ---- what endpoints say --------------------------------------------------------------------------------------------

PAGE = b"<html>" + b"x" * 200_000 + b"</html>"


@pytest.mark.parametrize("status, wait_ms", [(429, 7000), (503, 7000), (400, 24000)])
def test_an_error_counts_by_its_status_whatever_stands_in_its_page(stage, status, wait_ms):
    """Longer than an answer may be, or never whole: what it asks for is heeded all the same."""
    long = issuer_on(stage, answers.answer(status, [("Retry-After", "7")], PAGE))
    cut = issuer_on(stage, answers.raw(b"HTTP/1.1 %d No\r\nRetry-After: 7\r\nContent-Length: 500\r\n\r\n{" % status,
                                       then="close"))
    for issuer in (long, cut):
        daemon = stage.daemon([stage.backend().entry(auth=MANAGED)], environment=issuer.app_environment())
        line = daemon.wait_for_line(f"No new token.*it answered {status}")
        assert int(line.split("asked again in ")[1].split()[0]) >= wait_ms


def test_an_error_that_comes_as_200_is_shown(stage):
    issuer = issuer_on(stage, answers.answer(200, body={"error": "invalid_scope", "error_description": "AADSTS70011: no"}))
    daemon = stage.daemon([stage.backend().entry(auth=MANAGED)], environment=issuer.app_environment())
    daemon.wait_for_line("No new token.*access_token.*invalid_scope: AADSTS70011: no")


@pytest.mark.parametrize("name, reason", [("self", "self.signed"), ("stranger", "subject name"), ("expired", "expired")])
def test_the_log_says_what_is_wrong_with_an_authoritys_certificate(stage, certificates, name, reason):
    issuer = issuer_on(stage, tls=certificates.server(name))
    auth = {"type": "client_secret", "client_id": "c", "tenant_id": "t", "client_secret": "s3cr3t",
            "authority_host": issuer.url}
    daemon = stage.daemon([stage.backend().entry(auth=auth)], environment={"SSL_CERT_FILE": str(certificates.ca_file)})
    daemon.wait_for_line(f"No new token.*{reason}")
    assert not issuer.requests


def test_a_password_in_a_proxys_url_is_not_logged(stage, certificates):
    auth = {"type": "client_secret", "client_id": "c", "tenant_id": "t", "client_secret": "s3cr3t"}
    for url in ("http://user:pass-word@nobody.test:1", "odd://user:pass-word@nobody.test", "http://user:pass-word@a b:1"):
        daemon = stage.daemon([stage.backend().entry(auth=auth)], log={"level": "debug"},
                              environment={"https_proxy": url, "SSL_CERT_FILE": str(certificates.ca_file)})
        daemon.wait_for_line("No new token")
        daemon.stop()
        assert "pass-word" not in "\n".join(daemon.lines + daemon.errors)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_an_authority_with_an_old_tls_gets_no_secret(stage, certificates, tmp_path):
    """Even where the system's policy would allow it."""
    (tmp_path / "openssl.cnf").write_text("openssl_conf = a\n[a]\nssl_conf = b\n[b]\nsystem_default = c\n[c]\n"
                                          "MinProtocol = TLSv1\nCipherString = DEFAULT@SECLEVEL=0\n")
    context = certificates.server()
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    issuer = issuer_on(stage, tls=context)
    auth = {"type": "client_secret", "client_id": "c", "tenant_id": "t", "client_secret": "s3cr3t",
            "authority_host": issuer.url}
    daemon = stage.daemon([stage.backend().entry(auth=auth)], environment={
        "SSL_CERT_FILE": str(certificates.ca_file), "OPENSSL_CONF": str(tmp_path / "openssl.cnf")})
    daemon.wait_for_line("No new token")
    assert not issuer.requests and not issuer.handshakes


def test_a_name_whose_look_up_hangs_holds_up_neither_other_identities_nor_the_end(stage, names):
    names.set(authority=["hangs"])
    issuer = issuer_on(stage, life=2, end="seconds")
    url = stage.backend().url
    auth = {"type": "client_secret", "client_id": "c", "tenant_id": "t", "client_secret": "s3cr3t",
            "authority_host": "https://authority.test"}
    daemon = stage.daemon([{"url": url, "auth": auth}, {"url": url, "auth": MANAGED}],
                          environment={**names.environment, **issuer.app_environment()})
    daemon.wait_for_line("No new token for application c: https://authority.test/t/oauth2/v2.0/token: .*timed out", seconds=60)
    issuer.await_requests(len(issuer.requests) + 2)  # by now the next look-up hangs
    daemon.stop()


def test_the_longest_token_is_sent_whole(stage):
    token = "a" * 16_000
    issuer = issuer_on(stage, answers.answer(200, body={"access_token": token, "expires_in": 3600}))
    backend = stage.backend()
    daemon = stage.daemon([backend.entry(auth=MANAGED)], environment=issuer.app_environment())
    assert daemon.chat().status == 200
    assert backend.request.headers.all("authorization") == ["Bearer " + token]


def test_a_statement_that_is_gone_endless_or_empty_is_read_again_later(stage, certificates):
    issuer = issuer_on(stage, tls=certificates.server(), life=2, end="seconds")
    path = stage.directory() / "statement"
    path.write_text(STATEMENT)
    auth = {"type": "workload_identity", "client_id": "c", "tenant_id": "t", "authority_host": issuer.url}
    daemon = stage.daemon([stage.backend().entry(auth=auth)], environment={
        "SSL_CERT_FILE": str(certificates.ca_file), "AZURE_FEDERATED_TOKEN_FILE": str(path)})
    issuer.await_requests(1)
    path.unlink()
    daemon.wait_for_line(f"No new token .* cannot read AZURE_FEDERATED_TOKEN_FILE, {path}: No such file")
    replace(path, "x" * 100_000)
    daemon.wait_for_line(f"No new token .* cannot read AZURE_FEDERATED_TOKEN_FILE, {path}: it is too long")
    replace(path, "\n")
    daemon.wait_for_line(f"No new token .* AZURE_FEDERATED_TOKEN_FILE, {path}, is empty")
    replace(path, STATEMENT + "-new")
    daemon.wait_for_line("A new token for workload identity c")
    assert not [line for line in daemon.lines if STATEMENT[:8] in line]
    assert issuer.requests[-1].body.endswith(b"-new")


def replace(path, text):
    """All at once."""
    fresh = path.with_suffix(".fresh")
    fresh.write_text(text)
    fresh.rename(path)


# ---- reloads and the end -------------------------------------------------------------------------------------------

def test_a_reload_that_fails_for_want_of_libcurl_does_not_spoil_the_next_one(stage):
    directory = stage.directory()
    (directory / "libcurl.so.4").write_bytes(b"no library at all" * 10)
    keyed = stage.backend().entry(auth=KEY)
    daemon = stage.daemon([keyed], environment={"LD_LIBRARY_PATH": str(directory)})
    admin = Admin(daemon)
    daemon.write_config(make_config([stage.backend().entry(auth=MANAGED)]))
    got = admin.call("POST", "/reload")
    assert got.status == 422 and b"libcurl" in got.body
    assert daemon.chat().status == 200
    daemon.write_config(make_config([keyed]))
    assert admin.call("POST", "/reload").status == 200


def test_a_reload_changes_the_identity_while_its_fetch_is_under_way(stage):
    """New requests are served at once by the new identity, and those that wait for the old one still get its token."""
    gate = answers.Gate()
    issuer = issuer_on(stage)
    issuer.then(answers.gated(gate, issuer.grant))
    backend = backend_of(stage, issuer)
    daemon = stage.daemon([backend.entry(auth={**MANAGED, "client_id": "old"})], environment=issuer.app_environment())
    issuer.await_requests(1)
    with daemon.client() as early:
        daemon.open_chat(early)
        wait_for(lambda: Admin(daemon).status()["requests_in_flight"] == 1)
        daemon.write_config(make_config([backend.entry(auth={**MANAGED, "client_id": "new"})]))
        assert Admin(daemon).call("POST", "/reload").status == 200
        issuer.await_requests(2)
        wait_for(lambda: Admin(daemon).status()["requests_in_flight"] == 1)
        assert daemon.chat().status == 200
        gate.open()
        assert early.read_answer().status == 200
    assert "client_id=old" in issuer.requests[0].query and "client_id=new" in issuer.requests[1].query
    assert len(issuer.requests) == 2


def refuses_connections(port):
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except (ConnectionRefusedError, ConnectionResetError):  # reset: it closed its port while the connection waited there
        return True
    return False


def test_a_drain_waits_for_the_token_that_a_request_waits_for(stage):
    gate = answers.Gate()
    issuer = issuer_on(stage)
    issuer.then(answers.gated(gate, issuer.grant))
    backend = backend_of(stage, issuer)
    daemon = stage.daemon([backend.entry(auth=MANAGED)], environment=issuer.app_environment())
    with daemon.client() as client:
        daemon.open_chat(client)
        wait_for(lambda: Admin(daemon).status()["requests_in_flight"] == 1)
        daemon.signal(signal.SIGTERM)
        wait_for(lambda: refuses_connections(daemon.port))
        gate.open()
        assert client.read_answer().status == 200
    assert daemon.wait() == 0
    daemon.ended()


def test_a_second_signal_ends_it_while_requests_wait_for_a_token(stage):
    issuer = issuer_on(stage, answers.hang())
    daemon = stage.daemon([stage.backend().entry(auth=MANAGED)], environment=issuer.app_environment(), workers=2)
    clients = [daemon.open_chat(daemon.client()) for _ in range(20)]
    wait_for(lambda: Admin(daemon).status()["requests_in_flight"] == 20)
    daemon.signal(signal.SIGTERM)
    wait_for(lambda: refuses_connections(daemon.port))
    daemon.signal(signal.SIGTERM)
    daemon.wait()
    daemon.ended()
    for client in clients:
        client.close()

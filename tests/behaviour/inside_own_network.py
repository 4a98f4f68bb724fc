"""Run by test_identity.py in a network namespace where 169.254.169.254 is this machine; not collected by itself."""
from harness.tokens import backend_of, issuer_on
from test_identity import MANAGED, check_served


def test_the_metadata_service(stage):
    issuer = issuer_on(stage, address=("169.254.169.254", 80))
    backend = backend_of(stage, issuer)
    daemon = stage.daemon([backend.entry(auth=MANAGED)])
    check_served(daemon, backend, issuer)
    assert issuer.request.path == "/metadata/identity/oauth2/token"
    assert issuer.request.header("host") == "169.254.169.254"

"""Behaviour tests: the real daemon, driven over sockets.

Run with: /usr/bin/python3 -m pytest -q tests/behaviour [-n 2]
AOAI_LB and AOAI_SIM name the programs; without them the ones in build/debug, then build/release are taken.
"""
import pytest

from harness.certificates import Certificates
from harness.daemon import program
from harness.names import Names, build_shim
from harness.stage import Stage


def pytest_configure():
    """One word for all tests, where there is nothing to test."""
    try:
        program("AOAI_LB", "aoai-lb")
    except FileNotFoundError as fault:
        raise pytest.UsageError(str(fault)) from None


@pytest.fixture
def stage():
    """Backends and daemons of one test."""
    value = Stage()
    yield value
    value.close()


@pytest.fixture(scope="module")
def shared_stage():
    """Backends and daemons that the tests of a module share."""
    value = Stage()
    yield value
    value.close()


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    """A certificate authority, and what it has signed."""
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="session")
def names_shim(tmp_path_factory):
    return build_shim(tmp_path_factory.mktemp("shim"))


@pytest.fixture
def names(names_shim, stage):
    """What the daemon's resolver answers; give the daemon its environment."""
    return Names(names_shim, stage.directory())

"""Everything that one test (or one module of tests) sets up, taken down and checked at its end."""
import pathlib
import tempfile
import shutil

from .backend import Backend, NeverAccepts, NobodyThere
from .daemon import Daemon

NAMES = ("one", "two", "three", "four", "five", "six")


def in_order(*backends):
    """Backend entries with priorities 1, 2, 3, …: tried in that order."""
    return [entry_of(backend, priority=number) for number, backend in enumerate(backends, 1)]


def equals(*backends):
    """Backend entries of one priority."""
    return [entry_of(backend) for backend in backends]


def entry_of(backend, **settings):
    if isinstance(backend, dict):
        return {**settings, **backend}
    return backend.entry(**settings)


def merge(base, changes):
    for key, value in changes.items():
        if isinstance(value, dict) and isinstance(base.get(key), dict):
            merge(base[key], value)
        else:
            base[key] = value
    return base


def make_config(entries, changes=None):
    """A configuration on free ports, with the backends named one, two, three, … unless they have names."""
    backends = []
    for name, entry in zip(NAMES, entries):
        backends.append({"name": name, **entry_of(entry)})
    config = {"listen": {"address": "127.0.0.1", "port": 0}, "admin": {"address": "127.0.0.1", "port": 0},
              "retry": {"hold_ms": 0}, "backends": backends}  # a refusal is not waited for, unless a test asks
    return merge(config, changes or {})


class Stage:
    def __init__(self):
        self.backends = []
        self.daemons = []
        self.directories = []

    def backend(self, *script, **options):
        backend = Backend(*script, **options)
        self.backends.append(backend)
        return backend

    def nobody(self):
        """A backend that refuses connections."""
        self.backends.append(NobodyThere())
        return self.backends[-1]

    def never_accepts(self, **options):
        """A backend that does not take connections up."""
        self.backends.append(NeverAccepts(**options))
        return self.backends[-1]

    def daemon(self, entries, environment=None, **changes):
        """A ready daemon with these backends; changes are merged into its configuration."""
        return self.start(make_config(entries, changes), environment=environment)

    def start(self, config=None, **options):
        daemon = Daemon(config, **options)
        self.daemons.append(daemon)
        return daemon

    def directory(self):
        path = pathlib.Path(tempfile.mkdtemp(prefix="aoai-lb-test-"))
        self.directories.append(path)
        return path

    def close(self):
        """Backends first, so that nothing in flight keeps a daemon from draining; then all faults at once."""
        faults = []
        for backend in self.backends:
            backend.close()
        for daemon in self.daemons:
            try:
                daemon.stop()
            except AssertionError as fault:
                faults.append(fault)
        for backend in self.backends:
            try:
                backend.check()
            except Exception as fault:  # pylint: disable=broad-except
                faults.append(fault)
        for path in self.directories:
            shutil.rmtree(path, ignore_errors=True)
        if len(faults) == 1:
            raise faults[0]
        if faults:
            raise AssertionError("\n\n".join(f"{type(fault).__name__}: {fault}" for fault in faults))

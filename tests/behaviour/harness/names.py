"""Names that mean what a test says: names_shim.c in the place of getaddrinfo(), preloaded into the daemon."""
import os
import pathlib
import subprocess

SOURCE = pathlib.Path(__file__).parents[1] / "names_shim.c"


def build_shim(directory):
    path = directory / "names.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", str(path), str(SOURCE), "-ldl"], check=True)
    return path


class Names:
    """The file that the resolver answers from, and the environment that makes it so."""

    def __init__(self, shim, directory):
        self.path = directory / "names"
        self.path.touch()
        # The sanitizer wants to be first among the libraries; the shim takes nothing from it.
        options = ":".join(filter(None, [os.environ.get("ASAN_OPTIONS"), "verify_asan_link_order=0"]))
        self.environment = {"LD_PRELOAD": str(shim), "NAMES_FILE": str(self.path), "ASAN_OPTIONS": options}

    def set(self, **addresses):
        """In one step, so that no look-up finds half of it."""
        fresh = self.path.with_suffix(".new")
        fresh.write_text("".join(f"{name}.test {' '.join(values)}\n" for name, values in addresses.items()))
        fresh.rename(self.path)

"""The simulator, as a process."""
import http.client
import json
import pathlib
import shutil
import signal
import subprocess
import tempfile

from .daemon import SANITIZER_REPORT, clean_environment, program
from .wire import TIMEOUT_SECONDS


class Simulator:
    """Running resources with these deployments; see include/sim/config.h for what a deployment may say.

    resources	name → deployments
    settings_of	name → what else its resource says
    """

    def __init__(self, resources, settings_of=None, **settings):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="aoai-sim-"))
        path = self.directory / "simulator.json"
        path.write_text(json.dumps({
            "record": 0, "control": {"port": 0}, **settings,
            "resources": [{"name": name, "deployments": deployments, **(settings_of or {}).get(name, {})}
                          for name, deployments in resources.items()]}))
        self.errors = self.directory / "stderr"
        with open(self.errors, "wb") as errors:
            self.process = subprocess.Popen([program("AOAI_SIM", "aoai-sim"), "--config", str(path), "--print-ports"],
                                            env=clean_environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                            stderr=errors)
        self.ports = {}
        for _ in range(len(resources) + 1):
            line = self.process.stdout.readline().decode()
            if not line:
                self.close()
            name, port = line.split()
            self.ports[name] = int(port)

    def url(self, name):
        return f"http://127.0.0.1:{self.ports[name]}"

    def control(self, method, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.ports["control"], timeout=TIMEOUT_SECONDS)
        try:
            connection.request(method, path, None if body is None else json.dumps(body))
            answer = connection.getresponse()
            text = answer.read().decode()
        finally:
            connection.close()
        assert answer.status == 200, text
        return json.loads(text)

    def set_faults(self, faults):
        """These and no others from now on; see include/sim/fault.h for their words."""
        self.control("POST", "/reset")
        self.control("POST", "/faults", faults)

    def close(self):
        """Stops it in good order: exit code 0, and no sanitizer has anything to say."""
        try:
            self.process.send_signal(signal.SIGTERM)
            try:
                code = self.process.wait(TIMEOUT_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                code = self.process.wait()
            self.process.stdout.close()
            errors = self.errors.read_text()
            assert code == 0, f"the simulator ended with {code}:\n{errors}"
            assert not SANITIZER_REPORT.search(errors), errors
        finally:
            shutil.rmtree(self.directory, ignore_errors=True)

"""The programs that are compared, each configured for the same work, on a core of its own.

Request logs are off on all sides (access_log=True: on); connections to the backend are kept; streams are not buffered; what
one backend refuses is asked of another. HAProxy 2.6 cannot retry on 429: what refuses it answers 503.
"""
import collections
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
KEY = "fedcba9876543210fedcba9876543210"
START_SECONDS = 30
PROXY_CORE, OTHER_CORE = 0, 1


def pin(core):
    """For preexec_fn: the process and all its threads stay on one core, where the machine has two."""
    if os.cpu_count() > 1:
        os.sched_setaffinity(0, {core})


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return sock.getsockname()[1]


def host_of(backend):
    """Backends have loopback addresses of their own, so that each is one with connections of its own."""
    return f"127.0.0.{backend + 1}"


def ticks_ns(path):
    return int(path.read_text().split()[0])


def children(pid):
    found = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(child for each in found for child in children(int(each)))]


# What is expected of the first of several backends: that it refuses everything, and how that is to be met.
#   wait_ms	that its refusals ask for: retry-after-ms, which of the three aoai-lb alone reads
#   standby	the first backend is asked before the other, always (aoai-lb: whenever the wait is over); else all are alike, and
#		one that refused is left alone for as long as it asks by aoai-lb, for REST_SECONDS by nginx, not by HAProxy
#   names	deployments, each with a quota of its own: d0, d1, …; 0: one
Refusal = collections.namedtuple("Refusal", "wait_ms standby names")
REST_SECONDS = 1


class Proxy:
    """A running proxy in front of backends on the given ports.

    tls		backends are reached with TLS (nothing is verified: it is the same work for all)
    refusal	what the first port's backend does; None: it answers like the others
    large	bodies of 40 KB come: each program has buffers for a whole one, as aoai-lb's reads always have
    """

    name = None
    refusal_status = "429"  # what it can try again

    def __init__(self, directory, ports, tls=False, refusal=None, large=False, access_log=False, workers=1):
        self.directory = directory
        self.port = free_port()
        self.ports, self.tls, self.refusal, self.large = ports, tls, refusal, large
        self.access_log, self.workers = access_log, workers
        self.output = open(directory / f"{self.name}.log", "ab")
        began = time.monotonic()
        self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=self.output,
                                        stderr=subprocess.STDOUT,
                                        preexec_fn=(lambda: pin(PROXY_CORE)) if workers == 1 else None)
        self.start_ms = self.await_answer(began)

    @property
    def standby(self):
        return self.refusal is not None and self.refusal.standby

    def await_answer(self, began):
        """Milliseconds until the first connection was taken and answered with anything."""
        while time.monotonic() - began < START_SECONDS:
            assert self.process.poll() is None, (self.directory / f"{self.name}.log").read_text()[-2000:]
            try:
                with socket.create_connection(("127.0.0.1", self.port), 5) as sock:
                    sock.sendall(b"GET /none HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                    if sock.recv(1):
                        return (time.monotonic() - began) * 1000
            except OSError:
                time.sleep(0.001)
        raise AssertionError(f"{self.name} does not answer")

    def threads_cpu_ns(self):
        """CPU time of each thread of all its processes."""
        found = []
        for pid in children(self.process.pid):
            for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
                try:
                    found.append(ticks_ns(task / "schedstat"))
                except FileNotFoundError:
                    pass  # a thread that has just ended
        return found

    def cpu_ns(self):
        return sum(self.threads_cpu_ns())

    def memory_kb(self):
        """Resident memory of all its processes, each page once (PSS)."""
        return sum(int(re.search(r"^Pss:\s+(\d+)", pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text(), re.M)[1])
                   for pid in children(self.process.pid))

    def resident_kb(self):
        return sum(int(re.search(r"^VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text(), re.M)[1])
                   for pid in children(self.process.pid))

    def close(self):
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.output.close()


class AoaiLb(Proxy):
    name = "aoai-lb"

    def command(self):
        config = self.directory / "aoai-lb.json"
        scheme = "https" if self.tls else "http"
        # With all of them configured each deployment has a state of its own: only so many names are learned from answers.
        names = {f"d{i}": f"d{i}" for i in range(self.refusal.names)} if self.refusal else {}
        config.write_text(json.dumps({
            "listen": {"address": "127.0.0.1", "port": self.port}, "admin": {"address": "127.0.0.1", "port": 0},
            "workers": self.workers, "log": {"requests": self.access_log},
            "backends": [{"name": f"openai{i}", "url": f"{scheme}://{host_of(i)}:{port}",
                          "priority": i + 1 if self.standby else 1, **({"deployments": names} if names else {}),
                          "auth": {"type": "api_key", "key": KEY}, **({"tls": {"verify": False}} if self.tls else {})}
                         for i, port in enumerate(self.ports)]}))
        return [str(ROOT / "build/release/aoai-lb"), "--config", str(config)]


class Nginx(Proxy):
    name = "nginx"

    def command(self):
        rests = self.refusal is not None and not self.standby
        fails = f"max_fails=1 fail_timeout={REST_SECONDS}s" if rests else "max_fails=0"
        servers = "".join(f"server 127.0.0.1:{port} {fails}{' backup' if self.standby and i else ''};"
                          for i, port in enumerate(self.ports))
        retry = "error timeout http_429 http_503 non_idempotent" if self.refusal else "error timeout"
        # Otherwise it reads 4 KB at a time: little memory for each stream, many system calls for a large answer.
        buffers = "proxy_buffer_size 48k; proxy_buffers 8 48k; proxy_busy_buffers_size 96k;" if self.large else ""
        config = self.directory / "nginx.conf"
        config.write_text(f"""
daemon off; worker_processes {self.workers}; worker_rlimit_nofile 20000; pid {self.directory}/nginx.pid;
error_log {self.directory}/nginx.log crit;
events {{ worker_connections 20000; multi_accept on; }}
http {{
  access_log {f'{self.directory}/nginx-access.log combined buffer=64k flush=1s' if self.access_log else 'off'};
  client_body_temp_path {self.directory}/body; proxy_temp_path {self.directory}/proxy; fastcgi_temp_path {self.directory}/f;
  uwsgi_temp_path {self.directory}/u; scgi_temp_path {self.directory}/s;
  keepalive_timeout 75s; keepalive_requests 100000000; tcp_nodelay on; client_body_buffer_size 64k;
  proxy_read_timeout 600s; server_tokens off;
  upstream backends {{ {servers} keepalive 2048; keepalive_requests 100000000; }}
  server {{
    listen 127.0.0.1:{self.port} backlog=4096;
    location /openai/ {{
      proxy_pass {'https' if self.tls else 'http'}://backends; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_set_header api-key {KEY}; proxy_buffering off; proxy_next_upstream {retry}; proxy_ssl_verify off;
      proxy_ssl_session_reuse on; {buffers}
    }}
  }}
}}
""")
        return ["nginx", "-c", str(config), "-p", str(self.directory), "-e", str(self.directory / "nginx.log")]


class HAProxy(Proxy):
    name = "haproxy"
    refusal_status = "503"

    def command(self):
        # A backup server is no target of a redispatch: the other one has a weight that hardly ever counts instead.
        # None is left alone: "observe layer7" with "on-error mark-down" does not see an answer that is tried again,
        # and a check that asks for a completion each second would be billed.
        servers = "\n".join(f"  server s{i} 127.0.0.1:{port}{' ssl verify none' if self.tls else ''}"
                            f"{f' weight {1 if i else 256}' if self.standby else ''}" for i, port in enumerate(self.ports))
        retry = "  retry-on conn-failure 503\n  option redispatch 1\n  retries 3" if self.refusal else ""
        config = self.directory / "haproxy.cfg"
        config.write_text(f"""
global
  nbthread {self.workers}
  maxconn 9500
  tune.bufsize {65536 if self.large else 32768}
defaults
  mode http
  timeout connect 5s
  timeout client 600s
  timeout server 600s
  option http-no-delay
  option http-buffer-request
  http-reuse always
{'  log stdout format raw local0' if self.access_log else ''}
{'  option httplog' if self.access_log else ''}
frontend front
  bind 127.0.0.1:{self.port} backlog 4096
  default_backend backends
backend backends
  http-request set-header api-key {KEY}
{retry}
{servers}
""")
        return ["haproxy", "-f", str(config), "-db"]


PROXIES = (AoaiLb, Nginx, HAProxy)


def missing():
    return [name for name in ("nginx", "haproxy", "openssl") if shutil.which(name) is None]

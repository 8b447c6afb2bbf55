"""Starts and stops the service on the machine where it stands; needs only the standard library.

``python3 startup_probe.py starts|stops N CONFIG COMMAND...`` prints a JSON array. ``starts``: of
each start the seconds from exec to READY=1, its CPU seconds until then, and those of the imports
that no service can do without. ``stops``: the seconds from SIGTERM to the end, at moments spread
over the first two seconds. COMMAND runs the service; the environment is handed on.
"""

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time

_IMPORTS = ["-c", "import pycurl, yaml, jsonschema"]
_MOMENTS_SECONDS = 2.0


def main() -> None:
    what, count, *command = sys.argv[1:]
    measure = {"starts": measure_start, "stops": measure_stop}[what]
    sys.stdout.write(json.dumps([measure(command) for _ in range(int(count))]))


def measure_start(command: list[str]) -> list[float]:
    with service(command) as (child, told):
        begun = time.monotonic()
        while b"READY=1" not in told.recv(4096):
            pass
        seconds = time.monotonic() - begun
        child.kill()
        cpu = cpu_seconds(child)
    imports = subprocess.Popen([command[0], *_IMPORTS])
    return [seconds, cpu, cpu_seconds(imports)]


def measure_stop(command: list[str]) -> float:
    with service(command) as (child, told):
        while b"READY=1" not in told.recv(4096):
            pass
        time.sleep(random.uniform(0, _MOMENTS_SECONDS))
        begun = time.monotonic()
        child.send_signal(signal.SIGTERM)
        child.wait()
        return time.monotonic() - begun


@contextlib.contextmanager
def service(command):  # type: ignore[no-untyped-def]
    """The service started, and the socket on which it tells."""
    with (
        tempfile.TemporaryDirectory() as folder,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told,
    ):
        told.bind(f"{folder}/notify")
        places = {"NOTIFY_SOCKET": f"{folder}/notify", "XDG_RUNTIME_DIR": folder}
        environment = {**os.environ, **places}
        yield subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL), told


def cpu_seconds(child) -> float:  # type: ignore[no-untyped-def]
    """Wait for its end; what it and its children have used."""
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = status
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()

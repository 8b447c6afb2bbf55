"""The files for node_exporter: one for each service, whole or not there."""

import contextlib
import json
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from mailroom.engine.sockets import listen
from mailroom.errors import MailroomError
from mailroom.terminal.textfiles import write_metrics

RULES = Path(__file__).parents[1] / "packaging/prometheus/mailroom.rules.yml"
METRICS = """# HELP mailroom_healthy 1 when healthy, as /healthz says.
# TYPE mailroom_healthy gauge
mailroom_healthy{account="a"} 1
# HELP mailroom_errors_total Errors, by kind.
# TYPE mailroom_errors_total counter
mailroom_errors_total{account="a",kind="a \\"b\\" {c} 1"} 2
"""


@pytest.fixture
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A host with the folder of the collector, whose path leaves room for those of sockets."""
    folder = tmp_path_factory.mktemp("h")
    (folder / "textfiles").mkdir()
    return folder


@contextlib.contextmanager
def service(root: Path, name: str = "", answer: str = METRICS) -> Iterator[None]:
    """One that answers as often as it is asked."""
    folder = "run/mailroom-shard" if re.fullmatch(r"\d+-\d+", name) else "run/mailroom"
    path = root / folder / name / "status.sock"
    path.parent.mkdir(parents=True, exist_ok=True)
    listener = listen(path)
    body = answer.encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode()

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection = listener.accept()[0]
                with connection:
                    if connection.recv(4096):
                        connection.sendall(head + body)
                    else:
                        return

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield
    finally:
        _hang_up(path)
        thread.join()
        listener.close()
        path.unlink()


def _hang_up(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as last:
        last.connect(str(path))


def files(root: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in (root / "textfiles").iterdir()}


def test_every_service_of_the_host_has_a_file(root: Path) -> None:
    with service(root), service(root, "office"), service(root, "2-6", "\n"):
        write_metrics(root / "textfiles", root)
    written = files(root)
    shard = "mailroom-shard@2-6"
    assert set(written) == {"mailroom.prom", "mailroom@office.prom", f"{shard}.prom"}
    assert f'mailroom_up{{unit="{shard}"}} 1\n' in written[f"{shard}.prom"]  # without accounts
    assert 'mailroom_up{unit="mailroom"} 1\n' in written["mailroom.prom"]
    assert (
        'mailroom_healthy{unit="mailroom@office",account="a"} 1\n'
        in written["mailroom@office.prom"]
    )
    assert (
        'mailroom_errors_total{unit="mailroom",account="a",kind="a \\"b\\" {c} 1"} 2\n'
        in written["mailroom.prom"]
    )
    assert written["mailroom.prom"].count("# HELP") == 3
    assert (root / "textfiles/mailroom.prom").stat().st_mode & 0o777 == 0o644


def test_the_alert_about_old_files_is_for_those_of_every_service(root: Path) -> None:
    with service(root), service(root, "office"), service(root, "2-6", "\n"):
        write_metrics(root / "textfiles", root)
    rules = [
        rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]
    ]
    [told] = [rule["expr"] for rule in rules if rule["alert"] == "MailroomMetricsStale"]
    [quoted] = re.findall(r'file=~(".*")', told)
    pattern = json.loads(quoted)
    assert all(re.fullmatch(pattern, f"/var/{name}") for name in files(root))
    assert len(files(root)) == 3


def test_a_service_that_does_not_answer_is_down_and_says_nothing_else(root: Path) -> None:
    with service(root, answer=""):
        write_metrics(root / "textfiles", root)
    assert [line for line in files(root)["mailroom.prom"].splitlines() if line[0] != "#"] == [
        'mailroom_up{unit="mailroom"} 0'
    ]


def test_the_file_of_a_service_that_is_gone_goes_and_no_other(root: Path) -> None:
    for name in (
        "mailroom@gone.prom",
        "mailroom-shard@2-6.prom",
        "mailroom.prom",
        "apt.prom",
        "mailrooms.prom",
    ):
        (root / "textfiles" / name).write_text("old")
    with service(root):
        write_metrics(root / "textfiles", root)
    assert set(files(root)) == {"mailroom.prom", "apt.prom", "mailrooms.prom"}
    assert files(root)["mailroom.prom"] != "old"


def test_a_folder_that_is_not_there_is_told(root: Path) -> None:
    with pytest.raises(MailroomError, match=r"nowhere: No such file .* --collector\.textfile"):
        write_metrics(root / "nowhere", root)

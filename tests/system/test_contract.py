"""The contract tests, which hold the sandbox to what Cyrus does, run against Cyrus."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.system import cyrus
from tests.system.host import Host

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]

PROJECT = Path(__file__).parents[2]


def test_cyrus_keeps_the_contract(tree: Path) -> None:
    with Host.boot(tree) as host:
        server = cyrus.Cyrus.start(host)
        user = server.user("alice")
        environment = {
            "MAILROOM_CYRUS_URL": server.url,
            "MAILROOM_CYRUS_VERSION": server.version,
            "MAILROOM_CYRUS_USER": user.name,
            "MAILROOM_CYRUS_PASSWORD": cyrus.PASSWORD,
            "MAILROOM_CYRUS_LMTP": f"{cyrus.LOOPBACK}:{cyrus.LMTP_PORT}",
            "MAILROOM_CYRUS_IMAP": f"{cyrus.LOOPBACK}:{cyrus.IMAP_PORT}",
        }
        with host.network():  # the process inherits it
            result = subprocess.run(
                [sys.executable, "-m", "pytest", "tests/contract", "-m", "system", "-rs"],
                cwd=PROJECT,
                env=os.environ | environment,
                capture_output=True,
                text=True,
                timeout=600,
                check=False,
            )
    assert result.returncode == 0, result.stdout[-6000:]
    assert "skipped" not in result.stdout

"""The service manager that runs an installation's unit: the host's systemd or the user's."""

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mailroom.engine.unit import Installation
from mailroom.errors import LastingTrouble

# sd_booted(3).
_BOOTED = Path("/run/systemd/system")
# systemctl waits for READY=1, which needs no network: so long is plenty.
_PATIENCE_SECONDS = 90.0

_IN_USE = ("active", "activating", "reloading", "failed")

_NO_USER_MANAGER = (
    "you are not root, and your own service manager does not answer (systemctl --user): log in as "
    "yourself, not by su, or set it up for the whole machine: sudo mailroom init"
)


@dataclass(frozen=True, slots=True)
class Manager:
    """With ``environ``, systemctl finds the user's manager; ``booted`` exists if systemd runs the
    machine."""

    installation: Installation
    environ: Mapping[str, str]
    is_root: bool = field(default_factory=lambda: os.geteuid() == 0)
    booted: Path = _BOOTED

    def obstacle(self) -> str | None:
        """Why no unit can be run here, and what to do about it; None if one can."""
        if not self.installation.is_system:
            return None if self._succeeds("show-environment") else _NO_USER_MANAGER
        if not self.is_root:
            unit = self.installation.unit
            return f"{unit} is a unit of the system's, and you are not root: use sudo"
        if not self.booted.is_dir():
            return (
                "systemd does not run this machine (is it a container?), but mailroom init sets up "
                "a systemd service: docs/configuration.md says how to do without"
            )
        return None

    @property
    def is_enabled(self) -> bool:
        """Whether it starts at every boot, or with the user's manager."""
        return self._succeeds("is-enabled", "--quiet", self._service)

    @property
    def is_active(self) -> bool:
        return self._succeeds("is-active", "--quiet", self._service)

    def start(self) -> None:
        """Enable and restart it. Raises LastingTrouble, which says where to look, if it does not
        come up."""
        units = [self._service]
        if self.installation.is_system:
            units.insert(0, f"{self.installation.unit}.socket")
        for verb in (("enable", "--quiet"), ("restart",)):
            self._do(*verb, *units)

    def renew(self) -> bool:
        """Restart it if it runs or has failed; returns whether it did. Raises LastingTrouble if it
        does not come up."""
        state = self._run("show", "--property=ActiveState", "--value", self._service).stdout.strip()
        if state not in _IN_USE:
            return False
        self._run("reset-failed", self._service)  # after too many failed starts systemd refuses
        self._do("restart", self._service)
        return True

    def lingers(self) -> bool:
        """Whether the user's manager stays when the user has logged out."""
        command = ("loginctl", "show-user", "--property=Linger", str(os.geteuid()))
        return "Linger=yes" in self._output(command)

    @property
    def _service(self) -> str:
        return f"{self.installation.unit}.service"

    def _do(self, *arguments: str) -> None:
        result = self._run(*arguments)
        if result.returncode:
            said = " ".join(result.stderr.split())
            raise LastingTrouble(
                f"{' '.join([*self.installation.systemctl, *arguments])} failed ({said}): "
                f"{self.installation.look_up()}"
            )

    def _succeeds(self, *arguments: str) -> bool:
        return self._run(*arguments).returncode == 0

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = (*self.installation.systemctl, *arguments)
        try:
            return subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                env=self.environ,
                timeout=_PATIENCE_SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return subprocess.CompletedProcess(command, 1, "", str(error))

    def _output(self, command: tuple[str, ...]) -> str:
        try:
            return subprocess.run(
                command, capture_output=True, text=True, env=self.environ, check=False
            ).stdout
        except OSError:
            return ""

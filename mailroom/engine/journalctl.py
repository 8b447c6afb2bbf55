"""What the journal says about a unit of ours, read with the user's own rights (journalctl(1))."""

import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mailroom.errors import MailroomError

# The persistent journal, and the one until the next boot (systemd-journald.service(8)).
FOLDERS = (Path("/var/log/journal"), Path("/run/log/journal"))

Entry = dict[str, str]


class NoJournal(MailroomError):
    """There is no journal, or the user may not read it."""


@dataclass(frozen=True, slots=True)
class Journal:
    """The journal of the service ``unit`` (without suffix), which with ``is_system`` belongs to the
    system's manager, else to the user's."""

    unit: str
    is_system: bool
    folders: Sequence[Path] = FOLDERS

    def entries(
        self, matches: Sequence[str], since: float | None = None, *, newest_first: bool = False
    ) -> Iterator[Entry]:
        """The entries with these fields (``NAME=value``; for each name, any one of its values),
        ``since`` an instant in seconds of the epoch. Raises :class:`NoJournal`."""
        self._check_rights()
        which = "--unit" if self.is_system else "--user-unit"
        command = ["journalctl", "--quiet", "--no-pager", "--output=json", "--all"]
        command += [f"{which}={self.unit}.service"]
        command += ["--reverse"] if newest_first else []
        command += [f"--since=@{since:.0f}"] if since is not None else []
        try:
            child = subprocess.Popen(
                [*command, *matches], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
        except OSError as error:
            raise NoJournal("there is no journalctl here") from error
        with child:
            assert child.stdout is not None
            assert child.stderr is not None
            try:
                for text in child.stdout:
                    yield {name: str(value) for name, value in json.loads(text).items()}
                said = child.stderr.read().strip()
            finally:
                child.kill()  # the caller may have stopped reading
        if said:
            raise NoJournal(f"journalctl: {said.splitlines()[-1]}")

    def _check_rights(self) -> None:
        """Without rights journalctl would only show the user's own entries, of which there are
        none."""
        names = ["system.journal"]
        names += [] if self.is_system else [f"user-{os.getuid()}.journal"]
        files = [
            file for folder in self.folders for name in names for file in folder.glob(f"*/{name}")
        ]
        if not files:
            raise NoJournal("there is no journal here")
        if not any(os.access(file, os.R_OK, effective_ids=True) for file in files):
            raise NoJournal(
                "the journal is not yours to read: ask as root, or join the group adm (sudo "
                "adduser YOU adm) and log in again"
            )

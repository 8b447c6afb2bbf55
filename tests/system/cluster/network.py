"""An Ethernet between test hosts, with a cable for each that can be cut.

The switch is a bridge on one of the hosts, so this machine's own network has no part in it, and
nothing is left behind: a cable goes with the host at either end.
"""

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from tests.system.host import Host

_NET = "10.77.0"
_BRIDGE = "br0"
_CARD = "eth0"
# Nobody's: what is sent there is lost, as on a cable that is cut, and the sender is told nothing.
_NOBODY = "02:00:00:00:00:ff"


@dataclass(frozen=True, slots=True)
class Network:
    """One Ethernet; its switch is on the host `switch`, which has the address HUB."""

    HUB: ClassVar[str] = f"{_NET}.1"
    switch: Host

    def __post_init__(self) -> None:
        """Make the bridge."""
        self.switch.run("ip", "link", "add", _BRIDGE, "type", "bridge")
        self.switch.run("ip", "address", "add", f"{self.HUB}/24", "dev", _BRIDGE)
        self.switch.run("ip", "link", "set", _BRIDGE, "up")

    @staticmethod
    def address(number: int) -> str:
        """Of the host that is connected as this number."""
        return f"{_NET}.{10 + number}"

    def join(self, host: Host, number: int) -> None:
        """Connect a host, as number 1, 2, 3 … of the network."""
        port = f"port{number}"
        ours, theirs = str(self.switch.leader), str(host.leader)
        link = ("ip", "link", "add", port, "netns", ours, "type", "veth", "peer", "name", _CARD)
        subprocess.run([*link, "netns", theirs], check=True, timeout=10)
        self.switch.run("ip", "link", "set", port, "master", _BRIDGE, "up")
        host.run("ip", "address", "add", f"{self.address(number)}/24", "dev", _CARD)
        host.run("ip", "link", "set", _CARD, "up")


def cut(one: Sequence[Host], other: Sequence[Host]) -> None:
    """From now on these do not hear of those, nor those of these."""
    _between(one, other, "replace", "lladdr", _NOBODY, "nud", "permanent")


def heal(one: Sequence[Host], other: Sequence[Host]) -> None:
    """Undo a cut."""
    _between(one, other, "del")


def _between(one: Sequence[Host], other: Sequence[Host], verb: str, *how: str) -> None:
    for here, there in ((one, other), (other, one)):
        for host in here:
            for far in there:
                host.run("ip", "neighbour", verb, _address(far), *how, "dev", _CARD)


def _address(host: Host) -> str:
    shown = host.run("ip", "-4", "-brief", "address", "show", "dev", _CARD).stdout
    return shown.split()[2].partition("/")[0]

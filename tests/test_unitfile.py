"""What a unit says, and how something else is run as it is."""

from pathlib import Path

import pytest

from mailroom.rules.account.unitfile import (
    Setting,
    program,
    properties,
    service_settings,
    specifiers,
    unclear,
)

UNITS = Path(__file__).parent.parent / "systemd"
SHOWN = """\
# /usr/lib/systemd/system/mailroom@.service
[Unit]
Description=Mailroom for %i
LoadCredential=not-of-the-service:x

[Service]
Type=notify
ExecStart=/usr/bin/mailroom run \\
# a comment in between
    --config /etc/mailroom/%i.yaml
 PrivateUsers = yes
; another comment
PrivateUsers=identity
LoadCredential=jmap-token:mailroom.%i.jmap-token
SystemCallFilter=@system-service
SystemCallFilter=~@privileged

[Install]
WantedBy=multi-user.target

# /etc/systemd/system/mailroom@office.service.d/override.conf
[Service]
LoadCredential=
Environment="https_proxy=http://proxy:3128" HALF=50%%
WatchdogSec=5
"""
OFFICE = specifiers("mailroom@office")


def test_the_settings_of_the_service_are_read_in_order_and_whole() -> None:
    assert service_settings(SHOWN) == [
        Setting("Type", "notify"),
        Setting("ExecStart", "/usr/bin/mailroom run --config /etc/mailroom/%i.yaml"),
        Setting("PrivateUsers", "yes"),
        Setting("PrivateUsers", "identity"),
        Setting("LoadCredential", "jmap-token:mailroom.%i.jmap-token"),
        Setting("SystemCallFilter", "@system-service"),
        Setting("SystemCallFilter", "~@privileged"),
        Setting("LoadCredential", ""),
        Setting("Environment", '"https_proxy=http://proxy:3128" HALF=50%%'),
        Setting("WatchdogSec", "5"),
    ]


@pytest.mark.parametrize("taken", ["yes", "identity"])
def test_what_runs_is_as_the_unit_in_all_but_its_life(taken: str) -> None:
    """Of two values systemd has taken one, by its version; lists and what takes them back stay."""
    in_effect = {
        "PrivateUsers": taken,
        "SystemCallFilter": "a b c",
        "LoadCredential": "(unprintable)",
    }
    assert properties(service_settings(SHOWN), OFFICE, in_effect) == [
        f"PrivateUsers={taken}",
        "LoadCredential=jmap-token:mailroom.office.jmap-token",
        "SystemCallFilter=@system-service",
        "SystemCallFilter=~@privileged",
        "LoadCredential=",
        'Environment="https_proxy=http://proxy:3128" HALF=50%',
    ]


def test_which_settings_systemd_has_to_be_asked_about() -> None:
    assert unclear(service_settings(SHOWN)) == [
        "LoadCredential",
        "PrivateUsers",
        "SystemCallFilter",
    ]


def test_a_setting_that_came_back_to_its_first_value_is_said_once() -> None:
    settings = [Setting("ProtectHome", value) for value in ("yes", "no", "yes")]
    assert properties(settings, OFFICE, {"ProtectHome": "yes"}) == ["ProtectHome=yes"]


@pytest.mark.parametrize("systemd", ["yes", "no"])  # 257, 252
def test_what_systemd_run_has_no_word_for_is_said_as_it_is_in_effect(systemd: str) -> None:
    settings = [Setting("PrivateUsers", "identity"), Setting("ProtectHome", "yes")]
    assert unclear(settings) == ["PrivateUsers"]
    said = properties(settings, OFFICE, {"PrivateUsers": systemd})
    assert said == [f"PrivateUsers={systemd}", "ProtectHome=yes"]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("%i", "2-6"),
        ("%I", "2/6"),
        ("%n", "mailroom-shard@2-6.service"),
        ("%N", "mailroom-shard@2-6"),
        ("%p", "mailroom-shard"),
        ("%E/mailroom/%i.yaml", "/etc/mailroom/2-6.yaml"),
        ("%t/mailroom", "/run/mailroom"),
        ("50%%", "50%"),
        ("%%i", "%i"),
        ("%q", "%q"),
    ],
)
def test_a_specifier_is_said_as_what_the_unit_means_by_it(written: str, meant: str) -> None:
    settings = [Setting("Environment", f"A={written}")]
    said = properties(settings, specifiers("mailroom-shard@2-6"), {})
    assert said == [f"Environment=A={meant}"]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("/usr/bin/mailroom run", ["/usr/bin/mailroom"]),
        (
            "-/opt/m/bin/python3 -m mailroom run --config x",
            ["/opt/m/bin/python3", "-m", "mailroom"],
        ),
        ('"/opt/my programs/mailroom" run', ["/opt/my programs/mailroom"]),
        ("/opt/%i/mailroom run", ["/opt/office/mailroom"]),
        ("/usr/bin/sleep infinity", None),
        ("", None),
    ],
)
def test_the_program_is_the_units(line: str, words: list[str] | None) -> None:
    settings = [Setting("ExecStart", "/usr/bin/earlier run"), Setting("ExecStart", line)]
    assert program(settings, OFFICE) == words


@pytest.mark.parametrize(
    "name", ["mailroom.service", "mailroom@.service", "mailroom-shard@.service"]
)
def test_every_wall_and_every_secret_of_our_units_is_kept(name: str) -> None:
    settings = service_settings((UNITS / name).read_text())
    kept = properties(settings, specifiers("mailroom@office"), {})
    lines = {f"{each.key}={each.value}".replace("%i", "office"): each.key for each in settings}
    assert {key for line, key in lines.items() if line not in kept} == {
        *("Type", "ExecStart", "ExecReload", "WatchdogSec", "TimeoutStopSec"),
        *("Restart", "RestartSec", "RestartPreventExitStatus"),
        # Its sockets are the shard's own, and go with the folder.
        "RuntimeDirectory" if "shard" in name else "ExecStopPost",
    }
    assert len(kept) > 40
    assert program(settings, OFFICE) == ["/usr/bin/mailroom"]

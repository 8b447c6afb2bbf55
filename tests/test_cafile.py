"""Which files can be tls.ca_file."""

from pathlib import Path

import pytest

from mailroom.engine.cafile import fault_of_ca_file
from tests.authority import issue

_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"


def test_what_the_systems_service_cannot_see_is_no_use_to_it(tmp_path: Path) -> None:
    issue(tmp_path)
    path = tmp_path / "ca.pem"
    assert fault_of_ca_file(str(path), is_system=False) is None
    path.chmod(0o600)
    told = fault_of_ca_file(str(path), is_system=True)
    assert told is not None
    assert told.startswith("is hidden from the service: copy it (sudo install -m 644 FILE")


def test_a_file_that_holds_no_certificate_is_none(tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    assert fault_of_ca_file(str(path), is_system=False) == (
        "cannot be read: No such file or directory"
    )
    path.write_text("not a certificate\n")
    assert fault_of_ca_file(str(path), is_system=False) == (
        "holds no certificate in PEM, which begins with -----BEGIN CERTIFICATE-----"
    )


@pytest.mark.skipif(not Path(_BUNDLE).exists(), reason="needs the system's authorities")
def test_what_everybody_may_read_is_of_use_to_it() -> None:
    assert fault_of_ca_file(_BUNDLE, is_system=True) is None

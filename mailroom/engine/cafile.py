"""Whether a file can be ``tls.ca_file``: for commands only, as the service does without ssl."""

import os
import ssl

# What the system service cannot see (ProtectHome=, PrivateTmp=).
_HIDDEN = ("/home/", "/root/", "/run/user/", "/tmp/", "/var/tmp/")
_READ_BY_ALL = 0o004


def fault_of_ca_file(path: str, *, is_system: bool) -> str | None:
    """What is wrong with the file; None if it can be used. The system service, which has a user of
    its own (DynamicUser=), must be able to see it and to read it."""
    try:
        ssl.create_default_context(cafile=path)
        is_for_all = os.stat(path).st_mode & _READ_BY_ALL
    except ssl.SSLError:
        return "holds no certificate in PEM, which begins with -----BEGIN CERTIFICATE-----"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    if is_system and (path.startswith(_HIDDEN) or not is_for_all):
        return (
            "is hidden from the service: copy it (sudo install -m 644 FILE /etc/ssl/certs/), and "
            "name the copy"
        )
    return None

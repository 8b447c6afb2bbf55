"""The folder of many accounts: a file for each, beside the one that gives the defaults of all."""

import os
from pathlib import Path

#: What a file is called that may have such a folder beside it: all others are one account's.
DEFAULTS = "mailroom.yaml"
_ACCOUNTS = "accounts.d"
_SUFFIX = ".yaml"


def account_file(config: Path, name: str) -> Path:
    """The file of one of the many accounts that ``config`` gives the defaults of. With a dot before
    its name it is switched off: the service has no such account, and commands can still be told."""
    file = config.with_name(_ACCOUNTS) / f"{name}{_SUFFIX}"
    switched_off = file.with_name(f".{file.name}")
    return switched_off if os.path.exists(switched_off) and not os.path.exists(file) else file


def account_names(config: Path) -> list[str]:
    """Their names in order, those included that no account can have. There are none where the file
    is an instance's or the only account's, or where the folder may not be read."""
    try:
        return listed_accounts(config)
    except OSError:
        return []


def listed_accounts(config: Path) -> list[str]:
    """The same; raises OSError where there is a folder and it cannot be read."""
    folder = accounts_folder(config)
    if folder is None:
        return []
    try:
        files = os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []
    found = (file.removesuffix(_SUFFIX) for file in files if file.endswith(_SUFFIX))
    return sorted(name for name in found if not name.startswith("."))


def accounts_folder(config: Path) -> Path | None:
    """Where the files of many accounts would be that this one gives the defaults of; None where it
    is an instance's."""
    return config.with_name(_ACCOUNTS) if config.name == DEFAULTS else None

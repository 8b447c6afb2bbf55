"""The folder of many accounts: a file for each, beside the file with the defaults of all."""

import os
from pathlib import Path

#: Only a file of this name may have such a folder beside it: any other is one account's.
DEFAULTS = "mailroom.yaml"
_ACCOUNTS = "accounts.d"
_SUFFIX = ".yaml"
# How people may end a name instead, in any case.
_SIMILAR = (".yaml", ".yml")


def account_file(config: Path, name: str) -> Path:
    """The file of one of the many accounts whose defaults are in ``config``. A file with a dot
    before its name is switched off: the service has no such account, but commands find it."""
    file = config.with_name(_ACCOUNTS) / f"{name}{_SUFFIX}"
    switched_off = file.with_name(f".{file.name}")
    return switched_off if os.path.exists(switched_off) and not os.path.exists(file) else file


def account_names(config: Path) -> list[str]:
    """Their names in order, including names that no account can have. Empty if the file is an
    instance's or the only account's, or if the folder may not be read."""
    try:
        return listed_accounts(config)
    except OSError:
        return []


def listed_accounts(config: Path) -> list[str]:
    """The same; raises OSError if the folder is there and cannot be read."""
    folder = accounts_folder(config)
    if folder is None:
        return []
    try:
        files = os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []
    found = (file.removesuffix(_SUFFIX) for file in files if file.endswith(_SUFFIX))
    return sorted(name for name in found if not name.startswith("."))


def ignored_files(config: Path) -> list[str]:
    """What to do about files that look like an account's and are none, a clause for each. Empty if
    the folder may not be read."""
    folder = accounts_folder(config)
    if folder is None:
        return []
    try:
        files = sorted(os.listdir(folder))
    except OSError:
        return []
    return [
        f"{folder / file} is ignored: rename it to {Path(file).stem}{_SUFFIX}"
        for file in files
        if not file.startswith(".")
        and Path(file).suffix.lower() in _SIMILAR
        and not file.endswith(_SUFFIX)
    ]


def accounts_folder(config: Path) -> Path | None:
    """The folder for the accounts whose defaults are in this file; None if it is an instance's."""
    return config.with_name(_ACCOUNTS) if config.name == DEFAULTS else None

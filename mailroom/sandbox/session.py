"""The JMAP session object (RFC 8620 §2) as Cyrus shows it: its URLs are relative."""

from typing import Any, Final

from mailroom.sandbox.profile import Profile
from mailroom.sandbox.requests import CORE, MAIL, SUBMISSION

API_PATH: Final = "/jmap/"
EVENT_PATH: Final = "/jmap/eventsource/"

_EVENT_URL: Final = f"{EVENT_PATH}?types={{types}}&closeafter={{closeafter}}&ping={{ping}}"


def session(profile: Profile, user: str, state: str) -> dict[str, Any]:
    """Return the session object of the sandbox's one user."""
    limits = profile.limits
    account_capabilities: dict[str, Any] = {
        CORE: {},
        MAIL: {
            "maxMailboxesPerEmail": limits.max_mailboxes_per_email,
            "maxMailboxDepth": None,
            "maxSizeMailboxName": 490,
            "maxSizeAttachmentsPerEmail": limits.max_size_request,
            "emailQuerySortOptions": ["receivedAt"],
            "mayCreateTopLevelMailbox": True,
        },
        SUBMISSION: {"maxDelayedSend": 0, "submissionExtensions": {}},
    }
    return {
        "username": user,
        "apiUrl": API_PATH,
        "downloadUrl": "/jmap/download/{accountId}/{blobId}/{name}?accept={type}",
        "uploadUrl": "/jmap/upload/{accountId}/",
        **({} if profile.push == "absent" else {"eventSourceUrl": _EVENT_URL}),
        "state": state,
        "accounts": {
            user: {
                "name": user,
                "isPersonal": True,
                "isReadOnly": False,
                "accountCapabilities": account_capabilities,
            }
        },
        "primaryAccounts": {MAIL: user, SUBMISSION: user},
        "capabilities": {
            CORE: {
                "maxSizeUpload": limits.max_size_request,
                "maxConcurrentUpload": 5,
                "maxSizeRequest": limits.max_size_request,
                "maxConcurrentRequests": limits.max_concurrent_requests,
                "maxCallsInRequest": limits.max_calls_in_request,
                "maxObjectsInGet": limits.max_objects_in_get,
                "maxObjectsInSet": limits.max_objects_in_set,
                "collationAlgorithms": ["i;ascii-numeric", "i;ascii-casemap"],
            },
            MAIL: {},
            SUBMISSION: {},
        },
    }

"""The JMAP session object (RFC 8620 §2)."""

from typing import Any, Final

from tests.sandbox.profile import Profile
from tests.sandbox.requests import CONTACTS, CORE, MAIL, SUBMISSION

API_PATH: Final = "/jmap/"
EVENT_PATH: Final = "/jmap/eventsource/"

_EVENT_QUERY: Final = "?types={types}&closeafter={closeafter}&ping={ping}"


def session(profile: Profile, user: str, state: str, host: str) -> dict[str, Any]:
    """Return the session object of the sandbox's one user, who has found it at ``host``.

    A host may have a port; the API, where it is elsewhere, has the same one.
    """
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
    if profile.has_jmap_contacts:
        account_capabilities[CONTACTS] = {
            "maxAddressBooksPerCard": 1,
            "mayCreateAddressBook": True,
        }
    capabilities = capabilities_of(profile)
    return {
        "username": user,
        **_urls(profile, host),
        "state": state,
        "accounts": {
            user: {
                "name": user,
                "isPersonal": True,
                "isReadOnly": False,
                "accountCapabilities": account_capabilities,
            }
        },
        "primaryAccounts": dict.fromkeys(capabilities - {CORE}, user),
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
            **{name: {} for name in sorted(capabilities - {CORE})},
        },
    }


def capabilities_of(profile: Profile) -> frozenset[str]:
    """Return what a client may use."""
    contacts = {CONTACTS} if profile.has_jmap_contacts else set()
    return frozenset({CORE, MAIL, SUBMISSION, *profile.extensions} | contacts)


def _urls(profile: Profile, host: str) -> dict[str, str]:
    """Return the URLs: relative as in Cyrus, or absolute, the API's at a host of its own. A host
    with a name is behind TLS."""
    scheme = "http" if host.startswith("127.") else "https"
    base = api = f"{scheme}://{host}" if profile.has_absolute_urls else ""
    if profile.api_host is not None:
        _, colon, port = host.partition(":")
        base, api = f"http://{host}", f"http://{profile.api_host}{colon}{port}"
    urls = {
        "apiUrl": f"{api}{API_PATH}",
        "downloadUrl": f"{api}/jmap/download/{{accountId}}/{{blobId}}/{{name}}?accept={{type}}",
        "uploadUrl": f"{api}/jmap/upload/{{accountId}}/",
    }
    if profile.push != "absent":
        query = _EVENT_QUERY if profile.has_push_template else ""
        urls["eventSourceUrl"] = f"{base}{EVENT_PATH}{query}"
    return urls

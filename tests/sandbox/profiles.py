"""What real servers are like, each as a value.

What was observed of each is in the documents that the project was started with. A further server
is a further value here.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from tests.sandbox.profile import Limits, Profile

#: Of later Cyrus and of Fastmail.
_SIEVE_CONDITIONS: Final = frozenset({"fromAnyContact", "fromContactGroupId", "fromContactCardUid"})

CYRUS_3_10: Final = Profile("cyrus-3.10")
#: The first series with contacts by JMAP.
CYRUS_3_13: Final = Profile(
    "cyrus-3.13",
    limits_references=True,
    object_limits_fail="method",
    duplicate_mailbox="alreadyExists",
    sieve_conditions=_SIEVE_CONDITIONS,
    has_jmap_contacts=True,
    card_conversion="3.13",
    uids_are_exact=True,
    version_4_members_are_exact=True,
    raw_headers=frozenset(),
)
#: As 3.13.5 to 3.13.7 are in truth.
CYRUS_3_13_BLOCKING: Final = replace(
    CYRUS_3_13, name="cyrus-3.13-blocking", open_stream_blocks=True
)
CYRUS_3_6: Final = Profile("cyrus-3.6", push="unavailable")
#: With ``jmap_pushpoll: 0``.
CYRUS_WITHOUT_PUSH: Final = Profile("cyrus-without-push", push="absent")
#: With ``jmap_pushpoll: 1s``, the least: events are up to a second late, and come together.
LATE_PUSH: Final = Profile("late-push", push_look_seconds=1.0)
#: With ``search_engine: none``.
NO_SEARCH: Final = Profile("no-search", has_search=False)
#: An indexer that is not run all the time.
LAGGING_SEARCH: Final = Profile("lagging-search", search_lag_seconds=600.0)
FASTMAIL: Final = Profile(
    "fastmail",
    limits=Limits(max_mailboxes_per_email=None),
    jmap_authentication="Bearer",
    identities=("Alice@home.example", "*@alice.example"),
    api_host="127.0.0.2",
    extensions=("https://www.fastmail.com/dev/maskedemail",),
    has_plain_errors=True,
    has_push_template=False,
    greets=True,
    event_type_key="type",
    ping_unit=None,
    patch_to_no_mailbox="refused",
    takes_whole_mailbox_ids=False,
    sieve_conditions=_SIEVE_CONDITIONS,
    sieve_names_begin_with_inbox=False,
    has_jmap_contacts=True,
    version_4_members_are_exact=True,
)
#: Stalwart 0.15.5, as run, but for what a lack of time cannot show; of 0.16 by its source.
STALWART: Final = Profile(
    "stalwart",
    limits=Limits(
        max_size_request=10_000_000,
        max_concurrent_requests=4,
        max_calls_in_request=16,
        max_objects_in_get=500,
        max_objects_in_set=500,
        max_mailboxes_per_email=None,
        max_ids_in_query=5000,
        max_keywords_in_mailbox=None,
        max_keywords_in_account=99,
        max_requests_per_minute=1000,
    ),
    limits_references=True,
    object_limits_fail="method",
    cuts_all=True,
    search_lag_seconds=0.5,
    has_absolute_urls=True,
    counts_carddav=True,
    answers_nulls=False,
    checks_push_query=True,
    has_event_ids=False,
    ping_unit="milliseconds",
    least_ping_seconds=30,
    push_pause_seconds=1.0,
    push_batch=None,
    pushes_counts=True,
    shows_from_as_written=True,
    dates_are_indexed=True,
    searches_by_words=True,
    unknown_mailbox_is_empty=True,
    false_takes_away=True,
    empty_keyword_patch_changes=False,
    keywords_are_exact=True,
    bad_state="invalidArguments",
    state_to_come="cannotCalculateChanges",
    takes_any_header_form=True,
    raw_headers=frozenset({"content-type", "list-id", "return-path"}),
    searches_headers=False,
    subject_prefixes="known",
    patch_to_no_mailbox="refused",
    duplicate_mailbox="alreadyExists",
    ignores_case_of_mailboxes=True,
    # Of those that it has, what a script of Mailroom's may require; no jmapquery.
    sieve_extensions=(
        "copy",
        "envelope",
        "extlists",
        "fileinto",
        "imap4flags",
        "include",
        "mailbox",
        "mailboxid",
        "regex",
        "spamtest",
        "special-use",
        "variables",
    ),
    validates_sieve=False,
    sieve_conditions=frozenset(),
    marks_failed_sieve=False,
    sieve_names_begin_with_inbox=False,
    max_sieve_bytes=102_400,
    max_sieve_scripts=100,
    has_jmap_contacts=True,
    needs_address_book=True,
    takes_vendor_properties=False,
    checks_card_properties=False,
    unmapped_in="vCard",
    empty_groups_have_members=False,
    groups_organizations=False,
    empties_notes=True,
    orders_names=True,
    bad_patch="invalidProperties",
    refers_if_in_state=False,
    compares_state_early=True,
    shows_apple_groups=False,
    card_set_order=("create", "update", "destroy"),
    card_conversion=None,
    uids_are_exact=True,
    card_form="spelt",
    needed_properties=frozenset(),
    bad_card_status=412,
    hrefs_are_exact=True,
    shows_grouped_properties=False,
    lists_other_books=True,
    sync_page=2000,
    sync_loses_rest=True,
    refuses_tokens=False,
    has_cyrus_tokens=False,
)
#: Its mail; it has no contacts, so those here are the ones of a CardDAV server beside it, and the
#: rules are tried on it as on any other.
JAMES: Final = Profile(
    "james",
    limits=Limits(
        max_concurrent_requests=4,
        max_calls_in_request=16,
        max_objects_in_get=500,
        max_objects_in_set=500,
        max_mailboxes_per_email=None,
        max_ids_in_query=256,
        max_keywords_in_mailbox=None,
    ),
    limits_references=True,
    has_absolute_urls=True,
    takes_nested_mailboxes=False,
    tells_total=False,
    query_state_of="page",
    empty_keyword_patch_changes=False,
    has_event_ids=False,
)
SABRE: Final = Profile(
    "sabre",
    card_conversion=None,
    card_form="stamped",
    etag_form="weak",
    has_etag_of_changed_card=False,
    has_cyrus_tokens=False,
    shows_parts=False,
)
#: CardDAV as its RFC has it and no more, behind Digest, which some servers have as their default.
PLAIN_CARDDAV: Final = Profile(
    "plain-carddav",
    dav_authentication="Digest",
    etag_form="unquoted",
    shows_parts=False,
    has_sync=False,
)
#: A server that has a mind of its own about where things are, and when.
WAYWARD_CARDDAV: Final = Profile(
    "wayward-carddav",
    has_cyrus_tokens=False,
    shows_parts=False,
    tells_deletions=False,
    puts_elsewhere=True,
    locks_the_book=True,
)
SMALL_LIMITS: Final = Profile(
    "small-limits",
    limits=Limits(
        max_size_request=20_000,
        max_concurrent_requests=4,
        max_calls_in_request=4,
        max_objects_in_get=20,
        max_objects_in_set=10,
    ),
    limits_references=True,
)
SHORT_PAGES: Final = Profile("short-pages", limits=Limits(max_ids_in_query=2))
TRUNCATED_SYNC: Final = Profile("507", sync_page=3)
LOST_TOKEN: Final = Profile("lost-token", sync_token_uses=2)

PROFILES: Final[Mapping[str, Profile]] = {
    profile.name: profile
    for profile in (
        CYRUS_3_10,
        CYRUS_3_13,
        CYRUS_3_6,
        CYRUS_WITHOUT_PUSH,
        LATE_PUSH,
        NO_SEARCH,
        LAGGING_SEARCH,
        FASTMAIL,
        STALWART,
        JAMES,
        SABRE,
        PLAIN_CARDDAV,
        WAYWARD_CARDDAV,
        SMALL_LIMITS,
        SHORT_PAGES,
        TRUNCATED_SYNC,
        LOST_TOKEN,
    )
}

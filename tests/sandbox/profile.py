"""The differences between real servers, as named switches: what a profile can say.

A switch is for what one server alone does. The profiles are in ``profiles``.
"""

from dataclasses import dataclass
from typing import Literal

#: Whose way it is to show a vCard in another version; None: that is not done.
CardConversion = Literal["3.10", "3.13"] | None
EtagForm = Literal["strong", "weak", "unquoted"]


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits that the server keeps (RFC 8620 §2, 8621 §1.3.1); the session announces them."""

    max_size_request: int = 10 * 1024 * 1024
    max_concurrent_requests: int = 5
    max_calls_in_request: int = 50
    max_objects_in_get: int = 4096
    max_objects_in_set: int = 4096
    max_mailboxes_per_email: int | None = 20
    #: Not announced: a query shows no more ids than this at once; None: as many as are asked for.
    max_ids_in_query: int | None = None
    #: Not announced: so many different keywords there can be, those of old included, in a mailbox,
    #: and in the account; None: any number.
    max_keywords_in_mailbox: int | None = 100
    max_keywords_in_account: int | None = None
    #: Not announced: of more requests within a minute, whatever for, the rest is refused.
    max_requests_per_minute: int | None = None


@dataclass(frozen=True, slots=True)
class Profile:
    """One server's ways. The defaults are those of Cyrus 3.10."""

    name: str
    limits: Limits = Limits()
    #: True: the limit of a get counts for ids that come by a back-reference, and for all, as well.
    limits_references: bool = False
    #: Whether too many objects fail the whole request (Cyrus 3.10) or the method (Cyrus 3.13).
    object_limits_fail: Literal["request", "method"] = "request"
    #: True: a get of all shows no more than the limit, and does not say that there are others.
    cuts_all: bool = False
    #: True: requests of CardDAV are among those that are counted as under way at once.
    counts_carddav: bool = False
    #: False: a set's answer leaves out what is null.
    answers_nulls: bool = True

    #: Which HTTP authentication JMAP accepts, and which CardDAV.
    jmap_authentication: Literal["Basic", "Bearer"] = "Basic"
    dav_authentication: Literal["Basic", "Digest"] = "Basic"
    #: The addresses that Identity/get tells; Cyrus has one identity without.
    identities: tuple[str, ...] = ("",)
    #: The address of this machine where the API is, when not where the session is; the session's
    #: URLs are then absolute. None: they are relative.
    api_host: str | None = None
    #: False: the URLs of the session are relative, as those of Cyrus, where the API is there, too.
    has_absolute_urls: bool = False
    #: Capabilities of the server's own.
    extensions: tuple[str, ...] = ()
    #: True: a request that fails as a whole is told why in plain text, not as problem details.
    has_plain_errors: bool = False

    #: "unavailable": the event source answers 204; "absent": the session names none.
    push: Literal["available", "unavailable", "absent"] = "available"
    #: False: the address of the event source has no variables, the query is for the client to add.
    has_push_template: bool = True
    #: True: an unknown type, closeafter or ping is answered 400.
    checks_push_query: bool = False
    #: True: the first event of a stream tells the current states.
    greets: bool = False
    #: The key by which an event says what it is: RFC 8620's, or Fastmail's.
    event_type_key: Literal["@type", "type"] = "@type"
    has_event_ids: bool = True
    #: The unit of the interval that a ping announces; None: there are no pings.
    ping_unit: Literal["seconds", "milliseconds"] | None = "seconds"
    #: Pings come no more often, whatever is asked for.
    least_ping_seconds: int = 1
    #: How often the server looks for changes to push; 0 tells them at once.
    push_look_seconds: float = 0.0
    #: After an event so long there is none; what changes meanwhile comes in one.
    push_pause_seconds: float = 0.0
    #: One Email/set shows a state in between after so many mails; None: never.
    push_batch: int | None = 500
    #: True: a change of mail is pushed as one of Mailbox as well, by the same state; Mailbox/get
    #: answers that of the last change of a mailbox itself.
    pushes_counts: bool = False
    #: Seconds after which the server ends an event stream in good order; None: never.
    stream_seconds: float | None = None

    #: False: a mailbox inside of an OR or a NOT is ``unsupportedFilter``, and an AND may have one.
    takes_nested_mailboxes: bool = True
    #: True: From is shown as it is written, bytes beyond ASCII, NUL and spaces included.
    shows_from_as_written: bool = False
    #: False: a query tells no total, whatever is asked.
    tells_total: bool = True
    #: What the state of a query changes with: every mail, or the ids of the page that is shown.
    query_state_of: Literal["mails", "page"] = "mails"
    #: Seconds until the search finds a mail by the words of its From.
    search_lag_seconds: float = 0.0
    #: True: ``after`` and ``before`` use the same index, which may not have seen a mail yet.
    dates_are_indexed: bool = False
    #: True: a query for a mailbox that is not there finds nothing; else it fails.
    unknown_mailbox_is_empty: bool = False
    #: True: false in a patch of a set is like null; else it is invalid.
    false_takes_away: bool = False
    #: False: a query with ``from`` fails with ``serverFail``.
    has_search: bool = True
    #: True: the words of an address are searched for one by one, wherever they stand; else it is
    #: one word (Cyrus 3.10.2, seen).
    searches_by_words: bool = False
    #: A patch that takes a mail's last mailbox away is refused, or destroys the mail; "by past":
    #: destroys a mail that has ever left a mailbox, as in Cyrus, which counts its remains there.
    patch_to_no_mailbox: Literal["refused", "destroys", "by past"] = "by past"
    #: True: a patch of keywords that changes none is a change of the mail all the same.
    empty_keyword_patch_changes: bool = True
    #: True: keywords are what is written, spaces and all, and A is another one than a.
    keywords_are_exact: bool = False
    #: The error for changes since a state that is none, or is to come; "empty": there are none.
    bad_state: Literal["cannotCalculateChanges", "invalidArguments"] = "cannotCalculateChanges"
    state_to_come: Literal["empty", "cannotCalculateChanges"] = "empty"
    #: True: to ask for a header in a form that it has not is no error, but null; in none at all
    #: the property is left out; and ``:asRaw`` is left out of the property's name.
    takes_any_header_form: bool = False
    #: Headers that there are only as they are written.
    raw_headers: frozenset[str] = frozenset({"content-type"})
    #: False: a filter by ``header`` finds nothing.
    searches_headers: bool = True
    #: Which words before a subject do not tell threads apart: any, or those that programs write.
    subject_prefixes: Literal["any", "known"] = "any"
    #: False: a mail's ``mailboxIds`` given whole change nothing, single ones do.
    takes_whole_mailbox_ids: bool = True
    #: The error for a mailbox whose name is taken.
    duplicate_mailbox: Literal["invalidProperties", "alreadyExists"] = "invalidProperties"
    #: True: a mailbox's name is taken by one that differs in case alone.
    ignores_case_of_mailboxes: bool = False

    #: Which Sieve extensions RFC 9661's capability names; None: there is Cyrus' capability, which
    #: names none. Only a sandbox with Sieve has either.
    sieve_extensions: tuple[str, ...] | None = None
    #: False: whatever a script requires passes as valid, and fails when mail comes.
    validates_sieve: bool = True
    #: What a script's jmapquery can ask about contacts.
    sieve_conditions: frozenset[str] = frozenset({"fromAnyContact", "fromContactGroupId"})
    #: False: mail that a script failed for does not say so.
    marks_failed_sieve: bool = True
    #: True: a script names a mailbox beside Inbox as below it, as with ``altnamespace: no``.
    sieve_names_begin_with_inbox: bool = True
    #: Bytes of a script, and scripts; more are refused.
    max_sieve_bytes: int = 32 * 1024
    max_sieve_scripts: int = 5
    #: True: while an event stream is open, API and CardDAV answer nothing (Cyrus 3.13.5 to 3.13.7).
    open_stream_blocks: bool = False
    #: False: there are no contacts by JMAP (RFC 9610), CardDAV is the only way to them.
    has_jmap_contacts: bool = False
    #: True: a card is created in the address books that it names, and in none of itself.
    needs_address_book: bool = False
    #: False: a vendor's properties are refused, but within other objects (a note's).
    takes_vendor_properties: bool = True
    #: What unmapped properties of a vCard are in a Card: Cyrus keeps ``vCardProps`` to itself;
    #: Stalwart has ``vCard`` (draft-ietf-calext-jscontact-vcard), for those who name it.
    unmapped_in: Literal["vCardProps", "vCard"] = "vCardProps"
    #: True: to ask for a property that there cannot be is an error.
    checks_card_properties: bool = True
    #: False: a group that never had a member has no ``members``, so none can be patched in.
    empty_groups_have_members: bool = True
    #: False: a Card's organization is written as a plain ORG, without its id for a group.
    groups_organizations: bool = True
    #: True: of a note that a patch takes away an empty one is left, which JMAP does not show.
    empties_notes: bool = False
    #: True: a Card's name is written with RFC 9554's fields, and with the order of its parts.
    orders_names: bool = False
    #: The error of a patch that goes through what is not there.
    bad_patch: Literal["invalidPatch", "invalidProperties"] = "invalidPatch"
    #: False: ``#ifInState`` counts as not given: a set cannot be made to depend on another.
    refers_if_in_state: bool = True
    #: True: ``ifInState`` is compared before what others write at once is waited for, so that of
    #: several sets the state may hold for more than one.
    compares_state_early: bool = False
    #: False: JMAP shows cards with Apple's words for a group as persons.
    shows_apple_groups: bool = True
    #: In which order ContactCard/set does what it is to do.
    card_set_order: tuple[str, ...] = ("destroy", "create", "update")
    #: How cards of either version are shown as vCard 3.0 unless 4.0 is asked for.
    card_conversion: CardConversion = "3.10"
    #: True: a UID is what is written, ``urn:uuid:`` included, and one card's alone.
    uids_are_exact: bool = False
    #: True: to rules, a member that a vCard 4 group names is the UID as it is written there.
    version_4_members_are_exact: bool = False
    #: In which form a card that is put is kept: as it is; in Cyrus' spelling; with a PRODID and a
    #: REV of the server's; or in Stalwart's spelling.
    card_form: Literal["as put", "normalised", "stamped", "spelt"] = "normalised"
    #: Without which properties a card is refused.
    needed_properties: frozenset[str] = frozenset({"UID", "FN", "N"})
    #: The status for a card that the server will not have.
    bad_card_status: Literal[403, 412] = 403
    etag_form: EtagForm = "strong"
    #: False: a PUT that the server has changed the card of is answered without an ETag.
    has_etag_of_changed_card: bool = True
    #: True: an href is found in the server's own spelling only.
    hrefs_are_exact: bool = False
    #: False: properties with a group (``item1.EMAIL``) are dropped from partial data.
    shows_grouped_properties: bool = True
    #: True: books of other accounts are listed in one's own home.
    lists_other_books: bool = False
    #: A sync shows so many cards at a time, and 507 for the rest (RFC 6578 §3.6); None: all.
    sync_page: int | None = None
    #: True: the rest never comes: the token of a cut sync is the final one.
    sync_loses_rest: bool = False
    #: False: with a token that is none a sync shows everything, as without one.
    refuses_tokens: bool = True
    #: Every so many syncs with a token the token is refused; None: never.
    sync_token_uses: int | None = None
    #: False: the tokens do not look like those of Cyrus.
    has_cyrus_tokens: bool = True
    #: False: a sync does not tell what was deleted.
    tells_deletions: bool = True
    #: False: there is no sync (RFC 6578).
    has_sync: bool = True
    #: False: whoever wants parts of a card (RFC 6352 §10.4.2) gets all of it.
    shows_parts: bool = True
    #: True: a new card is stored under a name of the server's own choice.
    puts_elsewhere: bool = False
    #: True: while one write goes on, another is 423.
    locks_the_book: bool = False

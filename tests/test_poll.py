"""Polls by their request log: how many requests, how many of them one after the other."""

import dataclasses
import json
from collections import Counter
from collections.abc import Mapping
from functools import partial
from typing import Any

import pytest

from mailroom.rules.configuration.config import Config
from mailroom.rules.triage.verdicts import Verdicts
from mailroom.rules.triage.whole import Refusal
from mailroom.wire.jmap import Mail
from mailroom.work.mail.reading import Reading
from mailroom.work.polling.outcome import PollOutcome, Triaged
from mailroom.work.polling.survey import Survey
from mailroom.work.screening.door import Visit
from tests.sandbox import (
    CYRUS_3_6,
    CYRUS_3_10,
    JAMES,
    PROFILES,
    SMALL_LIMITS,
    STALWART,
    Entry,
    Fault,
    Profile,
    Response,
    json_response,
    longest_chain,
)
from tests.sandbox import Request as SandboxRequest
from tests.sandbox.log import most_at_once
from tests.screening.test_decision import places_of
from tests.world import World

DELAY = 0.05
BOB = "Bob <bob@example.org>"


def after_first_poll(world: World) -> int:
    """Wait for the rest of what came before; the number of the last request."""
    world.settle()
    world.sandbox.controls.delay_seconds = DELAY
    return world.request_count


def by_jmap(world: World, number: int) -> list[Entry]:
    """The requests after number that are none of CardDAV's."""
    return [entry for entry in world.requests_since(number) if entry.calls]


def test_a_poll_that_finds_nothing_labelled_is_one_request() -> None:
    world = World()
    world.deliver(BOB, count=3)
    world.start()
    number = after_first_poll(world)
    polls = world.polls
    world.account.poll_now()
    world.settle()
    assert world.polls == polls + 1
    (entry,) = world.requests_since(number)
    boxes, states, changes = ("Mailbox/get",), ("Email/get",), ("Email/changes", "Email/get")
    assert entry.calls == (*boxes, *states, *changes, "Email/query", "Email/get")


def test_an_hour_without_mail_costs_a_request_a_minute() -> None:
    world = World().start()
    number = after_first_poll(world)
    world.run_for(3600.0)
    assert 59 <= len(by_jmap(world, number)) <= 61
    # By CardDAV nobody tells of changes: the book is asked for them every five minutes.
    assert 11 <= len(world.requests_since(number)) - len(by_jmap(world, number)) <= 12


def test_a_new_sender_takes_five_dependent_round_trips_from_label_to_done() -> None:
    world = World()
    mails = world.deliver(BOB, count=20)
    world.start()
    number = after_first_poll(world)
    tapped_at = world.clock.now()
    world.tap(mails[7], "@ToFeed")
    world.run_until(lambda: bool(world.named("sender_triaged")))
    assert world.clock.now() - tapped_at <= 0.25 + 6 * DELAY
    entries = world.requests_since(number)
    assert len(longest_chain(entries)) == 5
    assert len(entries) == 9
    assert entries[-1].calls[0] == "Email/set"
    assert world.sandbox.mails_in("Feed") == set(mails)


def test_a_change_of_mind_takes_five_dependent_round_trips() -> None:
    world = World()
    mails = world.deliver(BOB, count=20)
    world.start()
    world.tap(mails[0], "@ToFeed")
    number = after_first_poll(world)
    world.tap(mails[1], "@ToJail")
    world.settle()
    entries = world.requests_since(number)
    assert len(longest_chain(entries)) == 5
    assert len(entries) <= 10
    assert world.sandbox.mails_in("Jail") == set(mails)


def test_taking_a_sender_back_takes_six_dependent_round_trips() -> None:
    """Out of the groups before the contact goes, the contact before the mail; and before all that,
    Sent is asked whether the sender would be known, were nothing decided."""
    world = World()
    mails = world.deliver(BOB, count=20)
    world.start()
    world.tap(mails[0], "@ToFeed")
    number = after_first_poll(world)
    world.tap(mails[1], "@ToScreener")
    world.settle()
    assert len(longest_chain(world.requests_since(number))) == 6
    assert world.sandbox.mails_in("Screener") == set(mails)


def test_fifty_senders_cost_the_same_five_beside_their_contacts() -> None:
    world = World()
    mails = [
        mail
        for n in range(50)
        for mail in world.deliver(f"Sender {n} <s{n}@x{n % 9}.example>", count=2)
    ]
    world.start()
    number = after_first_poll(world)
    tapped_at = world.clock.now()
    for mail in mails[::2]:
        world.tap(mail, "@ToBillboard")
    world.run_until(lambda: len(world.named("sender_triaged")) == 50)
    assert world.clock.now() - tapped_at <= 0.25 + 20 * DELAY
    entries = world.requests_since(number)
    kinds = Counter(entry.method for entry in entries)
    contacts = [e for e in entries if e.method == "PUT" and "group-" not in e.path]
    groups = [e for e in entries if e.method == "PUT" and "group-" in e.path]
    assert len(contacts) == 50
    assert len(groups) == 3
    assert len(entries) <= 70, kinds
    assert most_at_once(contacts) >= 6
    others = longest_chain(entry for entry in entries if entry not in contacts)
    assert len(others) == 4
    assert world.sandbox.mails_in("Billboard") == set(mails)


@pytest.mark.parametrize(
    ("profile", "way"),
    [
        pytest.param(profile, way, id=f"{profile.name} by {way}")
        for profile in PROFILES.values()
        if profile.push == "available"
        for way in ("carddav", "jmap")
        if way == "carddav" or profile.has_jmap_contacts
    ],
)
def test_one_tap_is_one_push_poll_and_its_echo_none(profile: Profile, way: str) -> None:
    world = World(profile, {"contacts": {"by": way}})
    mails = world.deliver(BOB, count=30)
    world.start().settle()
    polls = world.polls
    world.tap(mails[0], "@ToImbox")
    world.run_for(30.0)
    assert world.polls == polls + 1
    assert world.history.totals.polls["push"] == 1
    assert world.healthz[1]["poll_count"] == polls + 1
    assert world.healthz[1]["last_poll_trigger"] == "push"


def test_a_sweep_whose_states_no_answer_names_is_an_echo_all_the_same() -> None:
    """Cyrus shows states in the middle of one large Email/set."""
    world = World()
    mails = world.deliver(BOB, count=1200)
    world.start().settle()
    polls = world.polls
    world.tap(mails[0], "@ToImbox")
    world.run_for(30.0)
    assert world.polls == polls + 1


def test_the_state_that_a_sweep_leaves_is_known_however_late_it_is_told() -> None:
    world = World()
    mails = world.deliver(BOB, count=3)
    left: list[str] = []

    def note(entry: Entry, _request: SandboxRequest, response: Response) -> None:
        if "Email/set" in entry.calls:
            answers = json.loads(response.body)["methodResponses"]
            left.extend(answer["newState"] for name, answer, _ in answers if name == "Email/set")

    world.start().settle()
    world.sandbox.after(note)
    world.tap(mails[0], "@ToFeed")
    world.settle()
    polls = world.polls
    assert len(left) == 2, "one for the other mail, one for the labelled"
    for state in left:
        world.sandbox.tell({"Email": state})
        world.settle()
        assert world.polls == polls
    world.sandbox.tell({"Email": "another"})
    world.settle()
    assert world.polls == polls + 1


@pytest.mark.parametrize("profile", [CYRUS_3_10, STALWART], ids=lambda profile: profile.name)
@pytest.mark.parametrize("at", range(1, 10))
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_foreign_change_in_the_middle_of_a_poll_is_no_echo(
    moment: str, at: int, profile: Profile
) -> None:
    """Another sender is tapped before and after each request of the poll in turn."""
    world = World(profile)
    bob, carol = world.deliver(BOB, count=2)[0], world.deliver("Carol <carol@example.org>")[0]
    world.start().settle()
    number = world.request_count + at

    def act(entry: Entry, *_: object) -> None:
        if entry.number == number:
            world.tap(carol, "@ToJail")

    getattr(world.sandbox, moment)(act)
    world.tap(bob, "@ToFeed")
    world.run_for(10.0)
    assert world.sandbox.mailboxes_of(bob) == {"Feed"}
    assert world.sandbox.mailboxes_of(carol) == {"Jail"}


def test_a_label_that_the_closing_query_shows_is_polled_for_at_once_without_push() -> None:
    world = World(CYRUS_3_6)
    bob, carol = world.deliver(BOB)[0], world.deliver("Carol <carol@example.org>")[0]
    world.start()

    def act(entry: Entry, _request: SandboxRequest) -> None:
        if entry.method == "PUT":
            world.tap(carol, "@ToJail")

    world.tap(bob, "@ToFeed")
    world.sandbox.before(act)
    world.run_until(lambda: bool(world.named("sender_triaged")))
    world.settle()
    assert world.sandbox.mailboxes_of(carol) == {"Jail"}


def test_a_patch_that_the_server_refuses_for_ever_makes_no_busy_loop() -> None:
    """The mail is put back as it was, and the answer says that nothing has happened to it."""
    world = World(CYRUS_3_6)
    (mail,) = world.deliver("nobody")
    world.start()
    places = {world.sandbox.mailbox_id(name): True for name in ("Screener", "@ToFeed")}
    number = world.request_count

    def refuse(response: Response) -> Response:
        world.sandbox.move(mail, "Screener", "@ToFeed")
        document = json.loads(response.body)
        answers = [arguments for _, arguments, _ in document["methodResponses"]]
        answers[0] |= {"updated": None, "notUpdated": {mail: {"type": "forbidden"}}}
        answers[-2] |= {"ids": [mail], "total": 1}
        answers[-1] |= {"list": [{"id": mail, "from": [], "mailboxIds": places}]}
        return dataclasses.replace(response, body=json.dumps(document).encode())

    world.sandbox.faults.add(Fault(call="Email/set", rewrite=refuse))
    world.tap(mail, "@ToFeed")
    world.run_for(600.0)
    assert 10 <= len(world.requests_since(number)) <= 45


@pytest.mark.parametrize("tapped", [(0, 1), (1, 0)])
def test_two_addresses_of_one_contact_that_fails_wait_together(tapped: tuple[int, int]) -> None:
    """The senders of one contact are one: neither has its poll do all of the work in vain."""
    world = World()
    world.sandbox.put_card(
        "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:bob\r\nFN:Bob\r\nN:;;;;\r\n"
        "EMAIL:bob@example.org\r\nEMAIL:bob@home.example\r\nEND:VCARD\r\n"
    )
    mails = [*world.deliver("bob@example.org"), *world.deliver("bob@home.example")]
    world.start()
    after_first_poll(world)
    refusal = Response(403, {"Content-Type": "text/plain"}, b"no")
    world.sandbox.faults.add(Fault(method="PUT", answer=refusal))
    for index in tapped:
        world.tap(mails[index], "@ToFeed")
    world.run_for(30.0)
    assert [failing["attempts"] for failing in world.status["failing_senders"]] == [1]
    number = world.request_count
    world.account.poll_now()
    world.run_for(5.0)
    (entry,) = world.requests_since(number)
    assert "Email/query" in entry.calls
    world.sandbox.faults.clear()
    world.run_for(120.0)
    assert world.sandbox.mails_in("Feed") == set(mails)
    assert world.status["failing_senders"] == []


@pytest.mark.parametrize(("seconds", "place"), [(100.0, "Feed"), (125.0, "Screener")])
def test_mail_that_comes_within_two_minutes_of_a_triage_is_filed(
    seconds: float, place: str
) -> None:
    """Where there is no door, which knows the sender for good."""
    world = World(configuration={"screening": {"by": "off"}})
    world.start()
    world.tap(world.deliver(BOB)[0], "@ToFeed")
    world.run_until(lambda: bool(world.named("sender_triaged")))
    world.run_for(seconds)
    late = world.sandbox.deliver(BOB)
    world.settle()
    assert world.sandbox.mailboxes_of(late) == {place}


def test_a_poll_that_did_anything_is_not_idle() -> None:
    nothing = PollOutcome(0.0, {}, ())
    bob = Triaged("bob@example.org", "Feed", None, 0)
    assert nothing.is_idle
    assert not dataclasses.replace(nothing, triaged=(bob,)).is_idle
    assert not dataclasses.replace(nothing, filed=1).is_idle
    assert not dataclasses.replace(nothing, conflicts=1).is_idle
    assert not dataclasses.replace(nothing, failed=1).is_idle


def test_a_survey_that_found_anything_is_not_empty() -> None:
    nothing = Survey(
        *(Reading(0.0, {"Email": "1"}, ()), places_of(Config()), Verdicts(), (), {}),
        visit=Visit("1"),
    )
    assert nothing.is_empty
    own = Mail("M1", (), frozenset(), frozenset())
    changes: list[dict[str, Any]] = [
        {"verdicts": Verdicts(own=(own,))},
        {"visit": None},
        {"visit": Visit(None)},
        {"visit": Visit("1", has_more=True)},
        {"visit": Visit("1", has_backlog=True)},
        {"keywords": {"M1": {"keywords/$seen": True}}},
        {"crowd": 60},
        {"refused": (Refusal((own,), "no"),)},
    ]
    for change in changes:
        assert not dataclasses.replace(nothing, **change).is_empty, change


def test_a_sender_who_is_held_back_is_not_tried_by_the_poll_of_another() -> None:
    world = World()
    href, text = next((h, t) for h, t in world.sandbox.cards().items() if "FN:Feed" in t)
    world.sandbox.put_card(text.replace("VERSION:3.0", "VERSION:2.1"), href.rpartition("/")[2])
    [bob], [carol] = world.deliver(BOB), world.deliver("Carol <carol@example.org>")
    world.start().settle()
    for mail, label in ((bob, "@ToFeed"), (carol, "@ToJail")):
        world.tap(mail, label)
        world.settle()
    assert world.sandbox.mailboxes_of(carol) == {"Jail"}
    assert [failing["attempts"] for failing in world.status["failing_senders"]] == [1]


@pytest.mark.parametrize("is_first", [True, False])
def test_contacts_that_cannot_be_read_fail_the_first_poll_and_no_later_one(is_first: bool) -> None:
    """What is known of them will do, as long as nobody is triaged."""
    world = World()
    if not is_first:
        world.start().settle()
    world.sandbox.faults.add(Fault(path="/dav/", answer=Response(503)))
    if is_first:
        world.account.start()
    number = world.request_count
    world.run_for(600.0)
    assert any(entry.path.startswith("/dav/") for entry in world.requests_since(number))
    assert bool(world.named("poll_failed")) is is_first


@pytest.mark.parametrize(("times", "fails"), [(2, 0), (3, 1)])
def test_mailboxes_that_change_with_every_look_are_looked_at_three_times(
    times: int, fails: int
) -> None:
    world = World()
    changes: list[str] = []

    def change(entry: Entry, _request: object) -> None:
        if "Email/query" in entry.calls and len(changes) < times:
            world.sandbox.destroy_mailbox("Jail")
            changes.append(world.sandbox.create_mailbox("Jail"))

    world.sandbox.before(change)
    world.start()
    world.run_until(lambda: world.polls + len(world.named("poll_failed")) > 0)
    assert len(changes) == times
    failures = [fields["error"] for fields in world.named("poll_failed")]
    assert failures == ["the mailboxes that the server lists cannot be searched"] * fails


def test_the_name_that_one_logs_in_with_is_an_own_address_where_it_is_one() -> None:
    world = World()

    def named(response: Response) -> Response:
        if b"primaryAccounts" not in response.body:
            return response
        document = json.loads(response.body) | {"username": "Me@Example.org"}
        return dataclasses.replace(response, body=json.dumps(document).encode())

    world.sandbox.faults.add(Fault(method="GET", path="/jmap", rewrite=named))
    [mine], [bobs] = world.deliver("me@example.org"), world.deliver(BOB)
    world.start().settle()
    for mail in (mine, bobs):
        world.tap(mail, "@ToFeed")
    world.settle()
    assert world.sandbox.mailboxes_of(mine) == {"Screener"}
    assert world.sandbox.mailboxes_of(bobs) == {"Feed"}


def test_newcomers_count_as_filed() -> None:
    world = World(configuration={"screening": {"by": "off"}})
    (mail,) = world.deliver(BOB)
    world.start().settle()
    world.tap(mail, "@ToFeed")
    world.settle()
    late = world.sandbox.deliver(BOB, mailbox="Screener")
    world.settle()
    assert world.sandbox.mailboxes_of(late) == {"Feed"}
    assert [each["filed"] for each in world.named("poll_completed")] == [0, 1, 1]
    assert world.status["totals"]["mails_filed"] == 2


def test_newcomers_that_could_not_be_filed_are_not_counted_as_filed() -> None:
    world = World(configuration={"screening": {"by": "off"}})
    (mail,) = world.deliver(BOB)
    world.start().settle()
    world.tap(mail, "@ToFeed")
    world.settle()
    late = world.sandbox.deliver(BOB, mailbox="Screener")

    def refuse(response: Response) -> Response:
        document = json.loads(response.body)
        refusal = {"updated": None, "notUpdated": {late: {"type": "forbidden"}}}
        document["methodResponses"][0][1].update(refusal)
        return dataclasses.replace(response, body=json.dumps(document).encode())

    world.sandbox.faults.add(Fault(call="Email/set", rewrite=refuse))
    world.account.poll_now()
    world.settle()
    assert world.named("poll_completed")[-1]["filed"] == 0
    assert world.status["totals"]["mails_filed"] == 1


def test_senders_are_searched_in_as_few_requests_as_the_limits_allow() -> None:
    world = World(SMALL_LIMITS, {"screening": {"by": "off"}})
    mails = [world.deliver(f"Sender {n} <s{n}@example.org>", count=2)[0] for n in range(7)]
    world.start()
    number = after_first_poll(world)
    for mail in mails:
        world.tap(mail, "@ToFeed")
    world.settle()
    searches = [e for e in world.requests_since(number) if e.calls[:1] == ("Email/query",)]
    assert len(searches) <= 2
    assert len(world.sandbox.mails_in("Feed")) == 14


def test_where_the_search_fails_the_mailboxes_are_looked_through() -> None:
    world = World(dataclasses.replace(SMALL_LIMITS, has_search=False))
    mails = world.deliver(BOB, count=50)
    others = world.deliver("Carol <carol@example.org>", count=50)
    world.start().settle()
    world.tap(mails[0], "@ToFeed")
    world.settle()
    assert world.sandbox.mails_in("Feed") == set(mails)
    assert world.sandbox.mails_in("Screener") == set(others)


def test_an_address_that_the_search_does_not_take_keeps_nobody_waiting() -> None:
    world = World()
    odd, carol = world.deliver("+@example.org", count=2), world.deliver("carol@example.org")
    world.start().settle()

    def refuse(entry: Entry, request: SandboxRequest) -> None:
        if b'"+@example.org"' in request.body:
            error = Fault(call="Email/query", times=1, method_error="invalidArguments")
            world.sandbox.faults.add(error)

    world.sandbox.before(refuse)
    for mail in (odd[0], *carol):
        world.tap(mail, "@ToFeed")
    world.settle()
    assert world.sandbox.mails_in("Feed") == {*odd, *carol}
    assert not world.named("poll_failed")


def _showing(shown: Mapping[str, Any], answer: Response) -> Response:
    """The answer, whose searches find this, by method."""
    content = json.loads(answer.body)
    for name, arguments, tag in content["methodResponses"]:
        if tag.startswith(("query", "get")):
            arguments.update(shown[name])
    return dataclasses.replace(answer, body=json.dumps(content).encode())


@pytest.mark.parametrize("address", ["bob@example.org", "nobody"])
def test_a_label_that_is_off_and_still_shown_makes_no_busy_loop(address: str) -> None:
    world = World()
    (mail,) = world.deliver(address)
    world.start()
    label = world.sandbox.mailbox_id("@ToFeed")
    shown = {
        "Email/query": {"ids": [mail], "total": 1},
        "Email/get": {
            "list": [{"id": mail, "from": [{"email": address}], "mailboxIds": {label: True}}]
        },
    }

    world.sandbox.faults.add(Fault(call="Email/set", rewrite=partial(_showing, shown)))
    polls = world.polls
    world.tap(mail, "@ToFeed")
    world.run_for(30.0)
    assert world.polls == polls + 1
    told = [str(failure["error"]) for failure in world.named("sender_failed")]
    reason = "the server says that it took the label off, but still shows it"
    assert told == [reason] * ("@" in address)


def test_labels_of_a_domain_that_are_off_and_still_shown_make_no_busy_loop() -> None:
    world = World()
    (mail,) = world.deliver(BOB)
    world.start().settle()
    labels = [world.sandbox.mailbox_id(name) for name in ("@ToFeed", "@WholeDomain")]
    head = {"id": mail, "from": [{"email": "bob@example.org"}], "keywords": {}}
    shown = {
        "Email/query": {"ids": [mail], "total": 1},
        "Email/get": {"list": [head | {"mailboxIds": dict.fromkeys(labels, True)}]},
    }

    world.sandbox.faults.add(Fault(call="Email/set", rewrite=partial(_showing, shown)))
    polls = world.polls
    with world.sandbox.lock:
        world.sandbox.label(mail, "@WholeDomain")
        world.tap(mail, "@ToFeed")
    world.run_for(30.0)
    assert world.polls == polls + 1
    [failure] = world.named("sender_failed")
    assert failure["sender"] == "@example.org"
    assert "still shows it" in str(failure["error"])


def test_trouble_that_passes_fails_no_sender() -> None:
    world = World()
    (mail,) = world.deliver(BOB)
    world.start().settle()
    world.sandbox.faults.add(Fault(method="PUT", answer=Response(503), times=1))
    world.tap(mail, "@ToFeed")
    world.run_for(50.0)
    assert world.sandbox.mailboxes_of(mail) == {"Feed"}
    assert world.named("sender_failed") == []


def test_a_mail_without_a_usable_sender_is_told_by_its_subject() -> None:
    world = World()
    lost = world.sandbox.deliver(None, subject="Your parcel\r\nis here")
    bare = world.sandbox.deliver(None, subject="")
    world.start()
    number = after_first_poll(world)
    world.tap(lost, "@ToFeed")
    world.tap(bare, "@ToFeed")
    world.settle()
    told = {str(fields["mail"]): fields["subject"] for fields in world.named("sender_unusable")}
    assert told == {lost: "Your parcel\r\nis here", bare: "(no subject)"}
    asked = [entry for entry in world.requests_since(number) if entry.calls == ("Email/get",)]
    assert len(asked) == 1


def test_a_subject_that_cannot_be_read_holds_nothing_up() -> None:
    world = World()
    lost = world.sandbox.deliver(None, subject="Your parcel")
    world.start()
    number = after_first_poll(world)
    world.sandbox.faults.add(Fault(call="Email/get", nth=2, answer=Response(500, {})))
    world.tap(lost, "@ToFeed")
    world.settle()
    assert world.requests_since(number)[1].calls == ("Email/get",)
    assert world.sandbox.mailboxes_of(lost) == {"Screener", "@MailroomError"}
    (fields,) = world.named("sender_unusable")
    assert fields["subject"] == "(it could not be read)"


def telling(world: World, **told: object) -> None:
    """Have every answer to a query tell these, whatever is so."""

    def rewrite(answer: Response) -> Response:
        content = json.loads(answer.body)
        for name, arguments, _ in content["methodResponses"]:
            if name == "Email/query":
                arguments.update(told)
        return json_response(content)

    world.sandbox.faults.add(Fault(call="Email/query", rewrite=rewrite))


@pytest.mark.parametrize(
    "told",
    [{"total": 344}, {"total": 5_000}, {"total": 10**30}, {"total": 0}, {"total": -1},
     {"total": "many"}, {"limit": 1}, {"limit": 10**30}, {"limit": -1, "position": 10**30}],
)  # fmt: skip
def test_an_idle_minute_costs_a_request_a_minute_whatever_numbers_are_told(
    told: dict[str, object],
) -> None:
    world = World()
    one, two = world.deliver(BOB, count=2)
    world.tap(one, "@ToFeed")
    world.tap(two, "@ToJail")  # a conflict: the label query finds two mails from now on
    telling(world, **told)
    world.start()
    number = after_first_poll(world)
    world.run_for(1800.0)
    assert 29 <= len(by_jmap(world, number)) <= 31
    assert world.sandbox.mailboxes_of(one) == {"Screener", "@ToFeed", "@MailroomError"}


def test_one_mail_that_the_server_describes_badly_keeps_nobody_else_waiting() -> None:
    world = World()
    bad, good = world.deliver("Carol <carol@example.org>")[0], world.deliver(BOB)[0]

    def rewrite(answer: Response) -> Response:
        content = json.loads(answer.body)
        for name, arguments, _ in content["methodResponses"]:
            for mail in arguments.get("list", ()) if name == "Email/get" else ():
                if mail["id"] == bad:
                    del mail["mailboxIds"]
        return json_response(content)

    world.sandbox.faults.add(Fault(call="Email/get", rewrite=rewrite))
    world.start()
    world.tap(bad, "@ToFeed")
    world.tap(good, "@ToFeed")
    world.run_for(600.0)
    assert world.sandbox.mailboxes_of(good) == {"Feed"}
    assert world.sandbox.mailboxes_of(bad) == {"Screener", "@ToFeed"}
    [told] = world.named("object_unreadable")
    assert told == {"object": f"mail {bad}", "error": "KeyError: 'mailboxIds'"}
    assert world.named("poll_failed") == []


def test_on_a_server_that_refuses_nested_mailboxes_each_is_asked_for_on_its_own() -> None:
    """Found out once, and remembered: an idle poll is one request."""
    world = World(JAMES).start()
    number = after_first_poll(world)
    world.run_for(1800.0)
    entries = by_jmap(world, number)
    assert 29 <= len(entries) <= 31
    assert all(entry.calls.count("Email/query") == 9 for entry in entries)
    mails = world.deliver(BOB, count=300)
    number = world.request_count
    world.tap(mails[7], "@ToFeed")
    world.settle()
    assert world.sandbox.mails_in("Feed") == set(mails)
    assert len(world.requests_since(number)) <= 30
    number = world.request_count
    world.run_for(100.0)  # the door knows the sender for good: nobody looks for more of the mail
    assert [entry.calls.count("Email/query") for entry in by_jmap(world, number)] in ([9], [9, 9])


def test_a_new_session_is_asked_again_whether_it_takes_them() -> None:
    world = World(JAMES).start()
    number = after_first_poll(world)
    world.run_for(180.0)
    assert not [
        each for each in world.requests_since(number) if each.calls.count("Email/query") <= 2
    ]
    world.sandbox.renew_session()
    world.run_for(180.0)
    assert [each for each in world.requests_since(number) if each.calls.count("Email/query") <= 2]
    world.tap(world.deliver(BOB)[0], "@ToFeed")
    world.settle()
    assert world.sandbox.mails_in("Feed") == set(world.mails)
    assert world.named("poll_failed") == []

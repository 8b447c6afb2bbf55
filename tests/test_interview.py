"""What ``mailroom init`` asks, in which order, and what it makes of the answers."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from mailroom.rules.account import interview, questions
from mailroom.rules.account.autodiscovery import Candidate, Seen, short
from mailroom.rules.account.interview import Action, accept, next_move, probed, refused, tried
from mailroom.rules.account.proposal import configuration, credentials, differences, known_from
from mailroom.rules.account.questions import Abilities, Knowledge, Question, Taken, Topic
from mailroom.rules.configuration.servers import FASTMAIL_SESSION
from mailroom.rules.configuration.text import parse

URL = "https://mail.example.org/.well-known/jmap"
OUTSIDE = "https://mail.example.net/.well-known/jmap"
ABLE = Abilities("account anna", "by CardDAV")
SRV = "named by the SRV record of example.org"


class Story:
    """An interview whose questions are answered by ``answers``, and whose world is given; what was
    asked and looked for is in ``told``."""

    def __init__(
        self,
        answers: Mapping[Topic, str | list[str]],
        *,
        found: Seen | None = None,
        places: Mapping[str, Seen] | None = None,
        able: list[Abilities | None] | None = None,
        taken: list[tuple[Taken, ...]] | None = None,
    ) -> None:
        self._answers = {
            topic: list(given) if isinstance(given, list) else [given]
            for topic, given in answers.items()
        }
        self._found, self._places = found, places or {}
        self._able, self._taken = list(able or [ABLE]), list(taken or [()])
        self.told: list[str] = []
        self.asked: list[Question] = []

    def run(self, known: Knowledge | None = None) -> Knowledge:
        known = known or Knowledge()
        for _ in range(40):
            move = next_move(known)
            if move is None:
                return known
            self.told.append(move.topic if isinstance(move, Question) else move.name)
            known = self._ask(known, move) if isinstance(move, Question) else self._do(known, move)
        raise AssertionError(f"it does not end: {self.told}")

    def _ask(self, known: Knowledge, question: Question) -> Knowledge:
        self.asked.append(question)
        given = self._answers.get(question.topic) or [question.default or ""]
        answer = given.pop(0) if len(given) > 1 else given[0]
        return accept(known, question, answer)

    def _do(self, known: Knowledge, action: Action) -> Knowledge:
        match action:
            case Action.DISCOVER:
                found = (Candidate(self._found.url, SRV), self._found) if self._found else None
                why = "" if found else "no JMAP server was found for example.org"
                return replace(known, is_discovered=True, found=found, none_found=why)
            case Action.PROBE:
                seen = self._places[known.server or ""]
                is_untrusted = seen.is_untrusted and known.ca_file is None
                fault = seen.fault if is_untrusted or not seen.is_untrusted else ""
                return probed(known, replace(seen, fault=fault, is_untrusted=is_untrusted))
            case Action.TRY:
                able = self._able.pop(0) if len(self._able) > 1 else self._able[0]
                return tried(known, able) if able else refused(known)
            case Action.LOOK:
                return replace(known, taken=self._taken.pop(0))

    def question(self, topic: Topic) -> Question:
        return next(each for each in self.asked if each.topic is topic)


BASIC = Seen(URL, frozenset({"basic"}))
ANNA: Mapping[Topic, str | list[str]] = {Topic.ADDRESS: "anna@example.org", Topic.PASSWORD: "s e"}


def test_the_usual_way_asks_what_nobody_else_can_know() -> None:
    story = Story(ANNA, found=BASIC)
    known = story.run()
    assert story.told == [
        "address", "DISCOVER", "server", "username", "password", "TRY",
        "categories", "LOOK", "screening",
    ]  # fmt: skip
    assert known.username == "anna@example.org"
    assert known.screening == "server"
    assert story.question(Topic.SERVER).default == "mail.example.org"
    assert SRV in story.question(Topic.SERVER).why[0]


def test_every_question_says_why_and_how_it_is_answered_beforehand() -> None:
    no_contacts = Abilities("account anna", "", "no contacts")
    story = Story(
        {
            **ANNA,
            Topic.CA_FILE: "/ca.pem",
            Topic.CONTACTS_SERVER: "dav.example.org",
            Topic.CONTACTS_PASSWORD: "x",
        },
        found=(seen := Seen(OUTSIDE, fault="not trusted", is_untrusted=True)),
        places={short(OUTSIDE): seen},
        able=[no_contacts, ABLE],
        taken=[(Taken("Feed", "holds 3 mails, which stay yours", is_usable=True),)],
    )
    story._answers[Topic.TRUST] = ["yes"]
    assert story.run().ca_file == "/ca.pem"
    assert story.told[:5] == ["address", "DISCOVER", "trust", "PROBE", "ca-file"]
    assert {each.topic for each in story.asked} >= set(Topic) - {
        Topic.TOKEN, Topic.SERVER, Topic.GO,
    }  # fmt: skip
    for question in story.asked:
        assert all(question.why), question
    assert {each.topic: each.option for each in story.asked} == {
        Topic.ADDRESS: "--address",
        Topic.TRUST: "--server URL",
        Topic.CA_FILE: "--ca-file FILE",
        Topic.LOGIN: "--token-file FILE or --password-file FILE",
        Topic.USERNAME: "--username",
        Topic.PASSWORD: "--password-file FILE",
        Topic.CONTACTS_SERVER: "--contacts-server",
        Topic.CONTACTS_USERNAME: "--contacts-username",
        Topic.CONTACTS_PASSWORD: "--contacts-password-file FILE",
        Topic.CATEGORIES: "--categories",
        Topic.MAILBOX: "--mailbox Feed=OTHER",
        Topic.SCREENING: "--screening",
    }
    without_default = {each.topic for each in story.asked if each.default is None}
    assert without_default == {
        Topic.ADDRESS, Topic.PASSWORD, Topic.CONTACTS_SERVER, Topic.CONTACTS_PASSWORD
    }  # fmt: skip


def test_a_host_outside_of_the_domain_is_confirmed_before_any_secret() -> None:
    story = Story({**ANNA, Topic.TRUST: "yes"}, found=Seen(OUTSIDE, frozenset({"basic"})))
    known = story.run()
    assert story.told[:5] == ["address", "DISCOVER", "trust", "username", "password"]
    question = story.question(Topic.TRUST)
    assert question.default == "no"
    assert question.needs_a_person
    assert "mail.example.net" in question.why[0]
    assert "outside example.org" in question.why[1]
    assert known.server == "mail.example.net"


def test_who_does_not_know_the_host_names_another() -> None:
    story = Story(
        {**ANNA, Topic.SERVER: "mail.example.org"},
        found=Seen(OUTSIDE),
        places={"mail.example.org": BASIC},
    )
    story.run()
    assert story.told[:6] == ["address", "DISCOVER", "trust", "server", "PROBE", "username"]
    assert story.question(Topic.SERVER).default is None


def test_a_server_that_leads_elsewhere_is_confirmed_as_well() -> None:
    elsewhere = Seen("https://jmap.example.com/session", frozenset({"basic"}))
    story = Story(
        {**ANNA, Topic.SERVER: "mail.example.org", Topic.TRUST: "yes"},
        places={"mail.example.org": elsewhere},
    )
    known = story.run()
    assert story.told[:6] == ["address", "DISCOVER", "server", "PROBE", "trust", "username"]
    assert known.seen == elsewhere
    assert 'url: "https://jmap.example.com/session"' in configuration(known)


def test_where_nothing_is_found_it_says_why_and_asks() -> None:
    story = Story({**ANNA, Topic.SERVER: ["nothing.example", "mail.example.org"]}, places={
        "nothing.example": Seen("", fault="there is nothing"), "mail.example.org": BASIC,
    })  # fmt: skip
    story.run()
    assert story.told[:6] == ["address", "DISCOVER", "server", "PROBE", "server", "PROBE"]
    assert story.question(Topic.SERVER).why[0] == (
        "Discovery failed: no JMAP server was found for example.org."
    )


@pytest.mark.parametrize(
    ("seen", "asks"),
    [
        (Seen(URL, frozenset({"bearer"})), ["token"]),
        (Seen(URL, frozenset({"basic"})), ["username", "password"]),
        (Seen(URL, frozenset({"digest"})), ["username", "password"]),
        (Seen(URL, frozenset({"basic", "bearer"})), ["login", "username", "password"]),
        (Seen(URL), ["login", "username", "password"]),
    ],
)
def test_how_to_log_in_is_asked_where_the_server_leaves_it_open(
    seen: Seen, asks: list[str]
) -> None:
    story = Story({**ANNA, Topic.TOKEN: "t"}, found=seen)
    story.run()
    assert story.told[3 : 3 + len(asks)] == asks


def test_fastmail_wants_a_token() -> None:
    story = Story(
        {Topic.ADDRESS: "anna@fastmail.com", Topic.TOKEN: "t"}, found=Seen(FASTMAIL_SESSION)
    )
    known = story.run()
    assert "token" in story.told
    assert "API tokens" in story.question(Topic.TOKEN).why[0]
    text = configuration(known)
    assert "jmap:" not in text
    assert parse(text, "x").jmap.url == FASTMAIL_SESSION
    assert credentials(known) == {"jmap-token": "t"}


def test_after_a_refusal_both_are_asked_again_and_the_other_name_is_proposed() -> None:
    story = Story(ANNA, found=BASIC, able=[None, None, ABLE])
    story.run()
    assert story.told[3:12] == ["username", "password", "TRY"] * 3
    names = [each.default for each in story.asked if each.topic is Topic.USERNAME]
    assert names == ["anna@example.org", "anna", "anna@example.org"]


def test_a_refusal_is_told_in_words() -> None:
    known = Knowledge(seen=BASIC, username="anna")
    assert questions.refusal(known) == (
        "mail.example.org does not let anna in with this password: is the user name right, and "
        "does the account want an app password?"
    )
    assert questions.refusal(Knowledge(seen=BASIC)) == (
        "mail.example.org does not accept this token: is it complete, and has it not been revoked?"
    )


NOWHERE = Abilities("account anna", "", "no contacts: none by JMAP, no CardDAV there (404)")


def test_contacts_may_be_elsewhere() -> None:
    story = Story(
        {**ANNA, Topic.CONTACTS_SERVER: "dav.example.org", Topic.CONTACTS_PASSWORD: "p"},
        found=BASIC,
        able=[NOWHERE, ABLE],
    )
    known = story.run()
    assert story.told[6:10] == ["contacts-server", "contacts-username", "contacts-password", "TRY"]
    assert story.question(Topic.CONTACTS_SERVER).why[0] == f"{NOWHERE.no_contacts}."
    config = parse(configuration(known), "x")
    assert config.carddav.url == "https://dav.example.org/.well-known/carddav"
    assert config.carddav.username == "anna@example.org"
    assert credentials(known) == {"jmap-password": "s e", "carddav-password": "p"}


@pytest.mark.parametrize(
    ("second", "asked_again"),
    [
        (NOWHERE, ["contacts-server", "contacts-username", "contacts-password"]),
        (replace(NOWHERE, is_contacts_refused=True), ["contacts-username", "contacts-password"]),
    ],
)
def test_contacts_that_are_not_there_either_are_asked_for_again(
    second: Abilities, asked_again: list[str]
) -> None:
    story = Story(
        {**ANNA, Topic.CONTACTS_SERVER: "dav.example.org", Topic.CONTACTS_PASSWORD: "p"},
        found=BASIC,
        able=[NOWHERE, second, ABLE],
    )
    story.run()
    assert story.told[10 : 10 + len(asked_again)] == asked_again


FULL = Taken("Feed", "holds 812 mails, which stay yours", is_usable=True)


def test_a_full_mailbox_of_the_users_is_told_and_may_be_taken() -> None:
    story = Story(ANNA, found=BASIC, taken=[(FULL,)])
    known = story.run()
    question = story.question(Topic.MAILBOX)
    assert question.why[0] == (
        "You have a mailbox Feed already: it holds 812 mails, which stay yours."
    )
    assert question.default == "Feed"
    assert question.needs_a_person
    assert question.option == "--mailbox Feed=OTHER"
    assert "categories" not in configuration(known)


def test_or_another_name_is_given_which_is_looked_at_as_well() -> None:
    other = Taken("News", "holds 1 mail, which stays yours", is_usable=True)
    story = Story(
        {**ANNA, Topic.MAILBOX: ["News", "Mailroom News"]},
        found=BASIC,
        taken=[(FULL,), (other,), ()],
    )
    known = story.run()
    assert story.told[-6:] == ["LOOK", "mailbox", "LOOK", "mailbox", "LOOK", "screening"]
    config = parse(configuration(known), "x")
    [feed] = [each for each in config.triage.categories if each.name == "Feed"]
    assert (feed.destination_mailbox, feed.label) == ("Mailroom News", "@ToFeed")
    assert [each.name for each in config.triage.categories] == [
        each.name for each in parse("", "x").triage.categories
    ]


def test_a_mailbox_that_cannot_be_shared_needs_another_name() -> None:
    clash = Taken("Feed", "is the account's archive: write another name", is_usable=False)
    story = Story({**ANNA, Topic.MAILBOX: "Feed"}, found=BASIC, taken=[(clash,)])
    with pytest.raises(ValueError, match="another name is needed"):
        story.run()
    assert story.question(Topic.MAILBOX).default == "Mailroom Feed"


def test_names_do_not_go_in_a_circle() -> None:
    known = Knowledge(taken=(replace(FULL, name="News"),), mailboxes={"Feed": "News"})
    question = questions.mailbox(replace(FULL, name="News"))
    with pytest.raises(ValueError, match="has just been replaced by News"):
        accept(known, question, "Feed")


@pytest.mark.parametrize(
    ("able", "default", "said"),
    [
        (ABLE, "server", "server: by rules that Mailroom writes; no phone rings for a stranger."),
        (
            replace(ABLE, no_rules="the server offers no Sieve scripts by JMAP"),
            "mailroom",
            "server: by rules that you make by hand, since the server offers no Sieve scripts by "
            "JMAP.",
        ),
        (
            replace(ABLE, own_script="mine"),
            "mailroom",
            "server: by rules, once your own script 'mine' includes Mailroom's.",
        ),
    ],
)
def test_who_sorts_new_mail(able: Abilities, default: str, said: str) -> None:
    story = Story(ANNA, found=BASIC, able=[able])
    known = story.run()
    assert known.screening == default
    assert said in story.question(Topic.SCREENING).why
    assert parse(configuration(known), "x").screening.by == default


@pytest.mark.parametrize(
    ("topic", "answer", "fault"),
    [
        (Topic.ADDRESS, "anna", "has no @"),
        (Topic.ADDRESS, " ", "an answer is needed here"),
        (Topic.SERVER, "http://mail.example.org", "in the clear"),
        (Topic.SERVER, "https://anna:x@mail.example.org", "holds a user name or a password"),
        (Topic.CONTACTS_SERVER, "ftp://x", "must begin with https://"),
        (Topic.CATEGORIES, "some", "'some' is not one of all, fewer"),
        (Topic.SCREENING, "x", "is not one of server, mailroom, off"),
    ],
)
def test_an_answer_that_makes_no_sense_is_told(topic: Topic, answer: str, fault: str) -> None:
    known = Knowledge(address="anna@example.org", abilities=ABLE)
    made = {
        Topic.CATEGORIES: questions.which_categories(),
        Topic.SCREENING: questions.screening(known),
    }
    question = made.get(topic, Question(topic, "?", ("x",)))
    with pytest.raises(ValueError, match=fault.replace("?", r"\?")):
        accept(known, question, answer)


def test_the_first_letters_of_a_choice_are_enough() -> None:
    known = accept(Knowledge(abilities=ABLE), questions.screening(Knowledge(abilities=ABLE)), "M")
    assert known.screening == "mailroom"


def test_the_configuration_is_small_and_says_only_what_differs() -> None:
    story = Story({**ANNA, Topic.CATEGORIES: "fewer", Topic.SCREENING: "off"}, found=BASIC)
    text = configuration(story.run())
    assert text.splitlines()[2:] == [
        "",
        "jmap:",
        "  url: mail.example.org",
        "  username: anna@example.org",
        "",
        "triage:",
        "  own_addresses: [anna@example.org]  # your own mail is not triaged",
        "  categories:",
        "    - {name: Imbox, add_to_inbox: true}",
        "    - Feed",
        "    - Paper Trail",
        "    - Jail",
        "",
        "screening:",
        '  by: "off"  # who sorts new mail',
    ]
    config = parse(text, "x")
    assert config.screening.by == "off"
    assert [each.name for each in config.triage.categories] == list(questions.FEWER)
    assert all(line.startswith("#") for line in text.splitlines()[:2])


def test_letters_beyond_ascii_stay_readable_in_the_configuration() -> None:
    story = Story({**ANNA, Topic.MAILBOX: "Später lesen"}, found=BASIC, taken=[(FULL,), ()])
    assert 'destination_mailbox: "Später lesen"' in configuration(story.run())


@pytest.mark.parametrize("name", ["yes", "10", "Ä b", 'a"b', "#x", "a: b", "@x", "null", "-"])
def test_whatever_a_mailbox_is_called_the_configuration_says_it(name: str) -> None:
    story = Story({**ANNA, Topic.MAILBOX: name}, found=BASIC, taken=[(FULL,), ()])
    config = parse(configuration(story.run()), "x")
    assert config.triage.category("Feed").destination_mailbox == name


def test_where_a_configuration_is_there_only_the_secret_is_asked_for() -> None:
    text = "jmap: {url: mail.example.org, username: anna}\ntriage: {own_addresses: [a@b.example]}\n"
    story = Story({Topic.PASSWORD: "p"})
    known = story.run(known_from(parse(text, "x"), None))
    assert story.told == ["password", "TRY"]
    assert credentials(known) == {"jmap-password": "p"}
    story = Story({Topic.TOKEN: "t"}, able=[NOWHERE, ABLE])
    story._answers[Topic.CONTACTS_PASSWORD] = ["c"]
    known = story.run(known_from(parse("", "x"), None))
    assert story.told == ["token", "TRY", "contacts-password", "TRY"]
    assert credentials(known) == {"jmap-token": "t", "carddav-password": "c"}


def test_what_the_configuration_says_is_not_asked_after_a_refusal_either() -> None:
    refusing = replace(NOWHERE, is_contacts_refused=True)
    story = Story({Topic.TOKEN: "t"}, able=[None, NOWHERE, refusing, ABLE])
    story._answers[Topic.CONTACTS_PASSWORD] = ["c"]
    story.run(known_from(parse("", "x"), None))
    assert story.told == ["token", "TRY"] * 2 + ["contacts-password", "TRY"] * 2


def test_answers_that_say_something_else_than_the_configuration_are_told() -> None:
    text = "jmap: {url: mail.example.org, username: anna}\ntriage: {own_addresses: [a@b.example]}\n"
    same = {
        Topic.SERVER: "https://mail.example.org",
        Topic.USERNAME: "anna",
        Topic.ADDRESS: "A@b.example",
        Topic.SCREENING: "server",
        Topic.CATEGORIES: "all",
    }
    assert list(differences(parse(text, "x"), same)) == []
    assert list(differences(parse(text, "x"), {Topic.USERNAME: "anna"})) == []
    other = {
        Topic.SERVER: "mail.example.net",
        Topic.USERNAME: "bob",
        Topic.ADDRESS: "b@b.example",
        Topic.SCREENING: "off",
        Topic.CATEGORIES: "fewer",
    }
    assert list(differences(parse(text, "x"), other)) == [
        "--server mail.example.net is not what the configuration says (mail.example.org)",
        "--username bob is not what the configuration says (anna)",
        "--screening off is not what the configuration says (server)",
        "--categories fewer is not what the configuration says (all)",
        "--address b@b.example is not among the configuration's own_addresses",
    ]


def test_at_the_end_the_user_is_told_how_to_decide_about_the_first_sender() -> None:
    assert list(questions.afterwards(parse("", "x"))) == [
        "",
        "Now decide about the first sender: put @ToFeed on a mail in Screener,",
        "or move it to Feed; in any mail app.",
        "To see it happen: mailroom status --watch",
    ]
    only_inbox = parse("triage: {categories: [{name: Imbox, add_to_inbox: true}]}", "x")
    assert list(questions.afterwards(only_inbox)) == ["To see it happen: mailroom status --watch"]


def test_no_secret_is_ever_shown() -> None:
    known = Knowledge(secret="hunter2", contacts_secret="hunter3")
    assert "hunter" not in repr(known)
    assert interview.MOST_REFUSALS < 10

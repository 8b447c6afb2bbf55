"""The page in other languages: every phrase is found, and Cockpit can load what is made of it."""

import importlib.util
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

PROJECT = Path(__file__).resolve().parents[1]
PO = PROJECT / "cockpit/po"
_PLACE = "packaging/translations.py"

_spec = importlib.util.spec_from_file_location("translations", PROJECT / _PLACE)
assert _spec is not None
assert _spec.loader is not None
translations: Any = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(translations)

# Three forms, as in Polish; what they say is no language.
SAMPLE = """\
# A sample.
msgid ""
msgstr ""
"Language: pl\\n"
"Plural-Forms: nplurals=3; plural=(n==1 ? 0 : n%10>=2 && n%10<=4 && (n%100<10 "
"|| n%100>=20) ? 1 : 2);\\n"

msgid "Close"
msgstr "Zamknij \\"to\\""

msgid "Undo"
msgstr ""

msgid "$0 mail"
msgid_plural "$0 mails"
msgstr[0] "$0 one"
msgstr[1] "$0 few"
msgstr[2] "$0 many"
"""
# What base1/cockpit.js of Cockpit 337 does with it.
_COCKPIT = """
let data, plural;
const cockpit = { locale: po => { data = po; plural = po[""]["plural-forms"] } };
eval(require("fs").readFileSync(0, "utf8"));
const gettext = text => data[text]?.[1] ?? text;
const ngettext = (one, many, n) => {
    let form = plural(n);
    form = typeof form === "boolean" ? Number(form) : form;
    return data[one]?.[form + 1] ?? (n === 1 ? one : many);
};
const said = [gettext("Close"), gettext("Undo"), data[""].language];
for (const n of [0, 1, 2, 5, 12, 22])
    said.push(ngettext("$0 mail", "$0 mails", n));
console.log(JSON.stringify(said));
"""


def languages() -> list[Any]:
    return [pytest.param(catalog, id=path.stem) for path, catalog in translations.catalogs()]


def run(script: str) -> list[str]:
    if not shutil.which("node"):
        pytest.skip("no node here: tests/browser loads it in Chromium")
    command = ["node", "-e", _COCKPIT]
    told = subprocess.run(command, input=script, capture_output=True, text=True, check=True)
    found: list[str] = json.loads(told.stdout)
    return found


def test_every_phrase_of_the_page_is_found() -> None:
    """However it is written: what is not a plain string could not be translated."""
    for path in (PROJECT / "cockpit/js").glob("*.js"):
        text = path.read_text()
        called = re.findall(r"(?<![\w.])(?:_|ngettext)\((?!\))", text)
        assert len(called) == len(translations._PHRASE.findall(text)), path.name


def test_the_template_is_that_of_the_page() -> None:
    wanted = translations.written(translations.Catalog(), translations.phrases())
    assert (PO / "mailroom.pot").read_text() == wanted, "run make po"


@pytest.mark.parametrize("catalog", languages())
def test_a_catalog_is_whole_and_says_as_much_as_the_page(catalog: Any) -> None:
    phrases = translations.phrases()
    assert set(catalog.translations) == set(phrases), "run make po"
    for text, words in catalog.translations.items():
        assert words, f"not translated: {text}"
        assert (len(words) > 1) == (phrases[text].plural is not None)
        for word in words:
            given = {*re.findall(r"\$\d", text)}
            assert {*re.findall(r"\$\d", word)} == given, f"{text}: {word}"
            assert word[-1:].isalnum() == text[-1:].isalnum() or word[-1] == ".", word


@pytest.mark.parametrize("catalog", languages())
def test_a_catalog_that_is_brought_up_to_date_is_the_same(catalog: Any) -> None:
    text = (PO / f"{catalog.language}.po").read_text()
    assert translations.written(catalog, translations.phrases()) == text, "run make po"


def test_what_is_no_longer_said_goes_and_what_is_new_waits_for_somebody() -> None:
    catalog = translations.read(SAMPLE)
    phrase = translations.Phrase(None, ("a.js",))
    text = translations.written(catalog, {"Close": phrase, "New": phrase})
    again = translations.read(text)
    assert again.translations == {"Close": ['Zamknij "to"'], "New": []}
    assert (again.header, again.comment) == (catalog.header, "# A sample.\n")


def test_cockpit_says_it_in_the_other_language_and_by_its_plurals() -> None:
    catalog = translations.read(SAMPLE)
    assert run(translations.script(catalog, translations.phrases())) == [
        *('Zamknij "to"', "Undo", "pl"),
        *("$0 many", "$0 one", "$0 few", "$0 many", "$0 many", "$0 few"),
    ]


def test_what_is_loaded_is_nothing_but_data() -> None:
    """Besides the condition of the plural, which may be numbers, n and signs only."""
    hostile = SAMPLE.replace("plural=(n==1 ?", "plural=(alert(n)==1 ?")
    with pytest.raises(IndexError):
        translations.script(translations.read(hostile), translations.phrases())
    breaking = SAMPLE.replace('\\"to\\"', '\\"}); alert(1); (\\u2028')
    [line] = re.findall(
        r'^ "Close": (.*?),?$',
        translations.script(translations.read(breaking), translations.phrases()),
        re.MULTILINE,
    )
    assert json.loads(line) == [None, 'Zamknij "}); alert(1); (\u2028']


@pytest.mark.parametrize("arguments", [["js"], ["other"], []])
def test_called_wrongly_it_says_how(arguments: list[str]) -> None:
    assert translations.main(arguments) == 2


def test_of_every_language_there_is_a_script(tmp_path: Path) -> None:
    assert translations.main(["js", str(tmp_path)]) == 0
    made = {path.name for path in tmp_path.iterdir()}
    assert made == {f"po.{path.stem}.js" for path in PO.glob("*.po")}
    assert '"Close": [null, "Schließen"]' in (tmp_path / "po.de.js").read_text()

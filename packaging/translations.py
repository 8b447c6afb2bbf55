#!/usr/bin/python3
"""Translations of the page: collects the phrases, and writes translations as Cockpit loads them.

``translations.py po`` writes the template cockpit/po/mailroom.pot from the page, and updates every
catalog beside it. ``translations.py js FOLDER`` makes ``po.LANG.js`` from each catalog. Cockpit
serves it as ``po.js`` to a browser of that language: a call of ``cockpit.locale()`` with a list for
each phrase, first its plural or null, then its translations. Needs nothing but Python.
"""

import json
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

PAGE = Path(__file__).resolve().parents[1] / "cockpit"
TEMPLATE = PAGE / "po" / "mailroom.pot"

_STRING = r'"((?:[^"\\]|\\.)*)"'
# Phrases in scripts, and elements marked for translation.
_PHRASE = re.compile(rf"\b(?:_\({_STRING}\)|ngettext\({_STRING}, *{_STRING},)")
_ELEMENT = re.compile(r'<(\w+) translate="yes">([^<]*)</\1>')
_LINE = re.compile(r'(msgid|msgid_plural|msgstr|msgstr\[\d\])? *("(?:[^"\\]|\\.)*")')
# An expression that means the same in C, whose syntax gettext uses, and in JavaScript.
_PLURAL = re.compile(r"plural=([n0-9 ()!=<>&|%?:+-]+);")
_HEADER = """\
Project-Id-Version: mailroom
MIME-Version: 1.0
Content-Type: text/plain; charset=UTF-8
Content-Transfer-Encoding: 8bit
"""


@dataclass(frozen=True)
class Phrase:
    """A phrase to translate: its English plural, if it has one, and the files that contain it."""

    plural: str | None
    files: tuple[str, ...]


@dataclass
class Catalog:
    """A language: the header's text, and each phrase's translations, one per plural form."""

    header: str = _HEADER
    comment: str = ""
    translations: dict[str, list[str]] = field(default_factory=dict)

    @property
    def language(self) -> str:
        """Its code, such as ``de`` or ``pt_BR``."""
        code: str = re.findall(r"^Language: *(\w+)$", self.header, re.MULTILINE)[0]
        return code

    @property
    def plural(self) -> str:
        """Which plural form a number takes, as an expression of ``n``."""
        expression: str = _PLURAL.findall(self.header)[0]
        return expression.strip()


def phrases() -> dict[str, Phrase]:
    """All phrases of the page, in the order of its files."""
    found: dict[str, Phrase] = {}
    for path in [PAGE / "index.html", *sorted(PAGE.glob("js/*.js"))]:
        name = str(path.relative_to(PAGE.parent))
        for text, plural in _phrases_of(path):
            files = found[text].files if text in found else ()
            found[text] = Phrase(plural, tuple(dict.fromkeys((*files, name))))
    return found


def _phrases_of(path: Path) -> Iterator[tuple[str, str | None]]:
    text = path.read_text(encoding="utf-8")
    for _, phrase in _ELEMENT.findall(text):
        yield phrase, None
    if path.suffix == ".js":
        for only, one, many in _PHRASE.findall(text):
            yield json.loads(f'"{only or one}"'), json.loads(f'"{many}"') if many else None


def written(catalog: Catalog, wanted: Mapping[str, Phrase]) -> str:
    """The text of a catalog with these phrases; missing translations are empty."""
    forms = len(catalog.translations.get("", [])) or 2
    parts = [f'{catalog.comment}msgid ""\nmsgstr ""\n{_lines(catalog.header)}']
    for text, phrase in wanted.items():
        given = catalog.translations.get(text, [])
        lines = [f"#: {' '.join(phrase.files)}"]
        if "$" in text:
            lines.append("#, javascript-format")
        lines.append(f"msgid {_quoted(text)}")
        if phrase.plural is None:
            lines.append(f"msgstr {_quoted((given or [''])[0])}")
        else:
            lines.append(f"msgid_plural {_quoted(phrase.plural)}")
            each = given or [""] * forms
            lines += [f"msgstr[{number}] {_quoted(word)}" for number, word in enumerate(each)]
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def read(text: str) -> Catalog:
    """A catalog from its text."""
    comment = "".join(re.findall(r"^#.*\n|^\n", text.partition("msgid")[0], re.MULTILINE))
    catalog = Catalog(comment=comment)
    for block in re.split(r"\n{2,}", text):
        fields: dict[str, str] = {}
        name = ""
        for line in block.splitlines():
            if found := _LINE.fullmatch(line):
                name = found[1] or name
                fields[name] = fields.get(name, "") + json.loads(found[2])
        words = [value for key, value in fields.items() if key.startswith("msgstr")]
        if fields.get("msgid"):
            catalog.translations[fields["msgid"]] = words if all(words) else []
        elif fields:
            catalog.header = words[0]
    return catalog


def script(catalog: Catalog, wanted: Mapping[str, Phrase]) -> str:
    """The script that Cockpit loads. Phrases without a translation are left out: English."""
    heading = {"language": catalog.language, "language-direction": "ltr"}
    told = json.dumps(heading, ensure_ascii=False)
    lines = [f' "": {{"plural-forms": (n) => {catalog.plural}, {told[1:]}']
    for text, phrase in wanted.items():
        if words := catalog.translations.get(text):
            both = json.dumps([phrase.plural, *words], ensure_ascii=False)
            lines.append(f" {json.dumps(text, ensure_ascii=False)}: {both}")
    return "cockpit.locale({\n" + ",\n".join(lines) + "\n});\n"


def catalogs() -> Iterator[tuple[Path, Catalog]]:
    """All languages."""
    for path in sorted(TEMPLATE.parent.glob("*.po")):
        yield path, read(path.read_text(encoding="utf-8"))


def make_scripts(folder: Path) -> None:
    """Write ``po.LANG.js`` of every language into the page's folder."""
    for path, catalog in catalogs():
        made = folder / f"po.{path.stem}.js"
        made.write_text(script(catalog, phrases()), encoding="utf-8")


def update() -> None:
    """Write the template, and update every catalog: add new phrases, drop those that are gone."""
    TEMPLATE.write_text(written(Catalog(), phrases()), encoding="utf-8")
    for path, catalog in catalogs():
        path.write_text(written(catalog, phrases()), encoding="utf-8")


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _lines(header: str) -> str:
    return "".join(f"{_quoted(line)}\n" for line in header.splitlines(keepends=True))


def main(arguments: list[str]) -> int:
    """Do what the arguments say. Returns the exit status: 2 if they are wrong."""
    match arguments:
        case ["po"]:
            update()
        case ["js", folder]:
            make_scripts(Path(folder))
        case _:
            sys.stderr.write("translations.py po | js FOLDER\n")
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""HTML as plain text, for a person at a terminal or a page.

The HTML is a stranger's. It is read in one pass, however broken it is: Python's ``html.parser``
needs seconds for 8 KiB of ``<a <a <a`` (3.11.7, seen), in which the service would do nothing else.
"""

import re
from html import unescape

_SPACE = re.compile(r"[ \t\xa0]+")
_EMPTY_LINES = re.compile(r"\n\s*\n\s*\n+")
_BLOCKS = frozenset(
    (
        *("address", "article", "blockquote", "br", "dd", "div", "dl", "dt", "footer", "form"),
        *("h1", "h2", "h3", "h4", "h5", "h6", "header", "hr", "li", "ol", "p", "pre", "section"),
        *("table", "tr", "ul"),
    )
)
_HIDDEN = frozenset(("head", "template", "title"))
# What is in these is no HTML, up to their end tag.
_RAW = frozenset(("script", "style"))

# What begins at a "<" (HTML 13.2.5.6): a tag, a comment, or something like a comment.
_OPENING = re.compile(r"<(?:(/?)([a-zA-Z][^\s/>]*)|(!--)|[!?/])")
# In a tag: its end, or the beginning of a quoted value, in which a ">" does not count.
_END_OR_QUOTE = re.compile(r""">|=\s*(["'])""")
# More digits than a character has, and than Python takes for a number.
_TOO_MANY_DIGITS = re.compile(r"&#(?:[0-9]{9,}|[xX][0-9a-fA-F]{9,});?")


def text_of_html(html: str) -> str:
    """The visible text of HTML, one line per block."""
    lines = (_SPACE.sub(" ", line).strip() for line in _visible(html).split("\n"))
    return _EMPTY_LINES.sub("\n\n", "\n".join(lines)).strip()


def _visible(html: str) -> str:
    parts: list[str] = []
    hidden = at = 0
    while (opening := _OPENING.search(html, at)) is not None:
        if not hidden:
            parts.append(_text(html[at : opening.start()]))
        is_end, tag, is_comment = opening[1], (opening[2] or "").lower(), opening[3]
        if not tag:
            at = _after(html, "-->" if is_comment else ">", opening.end() - 2 * bool(is_comment))
            continue
        at = _end_of_tag(html, opening.end())
        if tag in _RAW and not is_end:
            at = _end_of_raw(html, tag, at)
        elif tag in _HIDDEN:
            hidden = max(0, hidden - 1) if is_end else hidden + 1
        elif tag == "body":
            hidden = 0  # the end tag of the head may be left out
        elif tag in _BLOCKS and not (is_end and tag == "br"):
            parts.append("\n")
    if not hidden:
        parts.append(_text(html[at:]))
    return "".join(parts)


def _text(html: str) -> str:
    return unescape(_TOO_MANY_DIGITS.sub("\N{REPLACEMENT CHARACTER}", html)).replace("\n", " ")


def _after(html: str, end: str, at: int) -> int:
    """Where it goes on after the next ``end``: what never ends hides all the rest."""
    found = html.find(end, at)
    return len(html) if found < 0 else found + len(end)


def _end_of_tag(html: str, at: int) -> int:
    while (found := _END_OR_QUOTE.search(html, at)) is not None:
        if found[1] is None:
            return found.end()
        at = _after(html, found[1], found.end())
    return len(html)


def _end_of_raw(html: str, tag: str, at: int) -> int:
    """Where the end tag begins."""
    found = re.compile(f"</{tag}(?=[\\s/>])", re.IGNORECASE).search(html, at)
    return len(html) if found is None else found.start()

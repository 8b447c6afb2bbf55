"""Texts as a stranger may send them.

Of what ends a line, steers a terminal, hides, turns the direction of writing, quotes or escapes,
fifty texts by chance hold next to nothing: here it is in most of them.
"""

from hypothesis import strategies as st

PIECES = (
    *("\n", "\r", "\r\n", "\t", "\v", "\f", "\x1c", "\x1d", "\x1e", "\x1f", "\x85"),
    *("\u2028", "\u2029", "\0", "\b", "\x1b", "\x7f", "\x9b", "\xa0", "\xad", "\u200b", "\ufeff"),
    *("\u200e", "\u200f", "\u202a", "\u202e", "\u2066", "\u2069", "\ue000", "\ufffe", "\uffff"),
    *("\ud800", "\udcff", "\u0300", "\ufe0f", "é", "e\u0301", "ß", "İ", "\u0390", "ﬁ", "📬"),
    *(" ", "a", "n", '"', "'", "\\", "\\n", "\\\\", ",", ";", ":", "=", "@", "<", ">", "%", "."),
)
#: Every one of them, and what stands between.
EVERY = "a".join(PIECES)

texts = st.text(st.characters()) | st.lists(
    st.sampled_from(PIECES) | st.text(st.characters(), max_size=2)
).map("".join)
#: The same without halves of characters, which no encoding takes.
whole_texts = texts.map(lambda text: text.encode("utf-8", "ignore").decode())
EVERY_WHOLE = EVERY.encode("utf-8", "ignore").decode()

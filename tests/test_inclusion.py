"""Whether a user's script runs ours: by the grammar, not by the letters."""

import pytest

from mailroom.rules.screening.inclusion import Inclusion, inclusion

NEVER, SOMETIMES, ALWAYS = Inclusion
OURS = 'include :personal "mailroom";'

CASES = [
    ('include "mailroom";', ALWAYS),
    ('require "include"; include :personal "mailroom";', ALWAYS),
    ('INCLUDE :Once :optional :personal "mailroom";', ALWAYS),
    ("include text:\nmailroom\n.\n;", NEVER),  # its name would end with a line break
    ('include :once ["mailroom"];', ALWAYS),
    (f"keep;/* a */{OURS}", ALWAYS),
    (f"discard;{OURS}", ALWAYS),
    (f"/* {OURS} */", NEVER),
    (f"# {OURS}", NEVER),
    (f"keep; # {OURS}\n", NEVER),
    (f'vacation text:\n{OURS}\n.\n;', NEVER),
    (f"vacation '{OURS}';", NEVER),
    (f'vacation "{OURS.replace(chr(34), chr(92) + chr(34))}";', NEVER),
    ('include :global "mailroom";', NEVER),
    ('include "mailroom2";', NEVER),
    ('include "Mailroom";', NEVER),
    ('include :global "other"; # "mailroom"', NEVER),
    ('include "${name}";', NEVER),
    ('fileinto "include mailroom";', NEVER),
    (f"stop; {OURS}", NEVER),
    (f"return; {OURS}", NEVER),
    (f"if true {{ stop; }} {OURS}", NEVER),
    (f"if false {{ stop; }} {OURS}", ALWAYS),
    (f"if anyof (true, exists \"x\") {{ stop; }} {OURS}", NEVER),
    (f"if allof (true, exists \"x\") {{ stop; }} {OURS}", ALWAYS),
    (f"if exists \"x\" {{ discard; stop; }} {OURS}", ALWAYS),
    (f"if exists \"x\" {{ stop; }} else {{ stop; }} {OURS}", NEVER),
    (f"if exists \"x\" {{ stop; }} elsif true {{ stop; }} {OURS}", NEVER),
    (f"if exists \"x\" {{ stop; }} elsif false {{ }} {OURS}", ALWAYS),
    (f"if true {{ {OURS} }}", ALWAYS),
    (f"if false {{ {OURS} }}", NEVER),
    (f"if not false {{ {OURS} }}", ALWAYS),
    (f"if exists \"x\" {{ {OURS} }}", SOMETIMES),
    (f"if exists \"x\" {{ keep; }} else {{ {OURS} }}", SOMETIMES),
    (f"if exists \"x\" {{ {OURS} }} else {{ {OURS} }}", ALWAYS),
    (f"if true {{ keep; }} else {{ {OURS} }}", NEVER),
    (f"if exists \"x\" {{ if true {{ {OURS} }} }}", SOMETIMES),
    (f"foreverypart {{ {OURS} }}", SOMETIMES),
    ('include "through";', ALWAYS),
    ('include :global "through";', NEVER),
    ('if exists "x" { include "through"; } else { include "through"; }', ALWAYS),
    ('include "ending"; include "mailroom";', ALWAYS),
    ('include "round"; include "nothing"; include "broken";', NEVER),
    (f"{OURS} }}", NEVER),  # no server takes it
    ("", NEVER),
]  # fmt: skip
OTHERS = {
    "through": f"keep; {OURS}",
    "ending": "stop;",
    "round": 'include "square";',
    "square": 'include "round";',
    "broken": f"{OURS} (",
}


@pytest.mark.parametrize(("text", "expected"), CASES)
def test_what_a_script_runs_of_ours(text: str, expected: Inclusion) -> None:
    assert inclusion(text, "mailroom", OTHERS) is expected

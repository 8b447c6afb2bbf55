"""The rules of triage, as tables."""

import pytest

pytest.register_assert_rewrite("tests.rules.table")

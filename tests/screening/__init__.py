"""What becomes of new mail, as a table."""

import pytest

pytest.register_assert_rewrite("tests.screening.table")

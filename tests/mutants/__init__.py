"""``make mutants``: does a test notice when the code is broken?

Small changes are made to the code, one at a time, and the quick tests that reach the changed lines
are run against each. A mutant that no test notices has *survived*: a test is missing, or the
code is not needed.
"""

"""Chaos: the promises that nothing is lost and nothing brings the service down, as a table.

``python -m tests.chaos [ROW ...]`` tries every case of the rows, ``tests/test_chaos.py`` a seeded
selection of them.
"""

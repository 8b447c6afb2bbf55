#!/usr/bin/env python3
"""Run Mailroom from a checkout."""

import sys

from mailroom.cli import main

if __name__ == "__main__":
    sys.exit(main())

# `make` alone lists the targets. Everything happens in .venv, which packaging/venv.sh maintains.

.DEFAULT_GOAL := help
.PHONY: help demo test lint test-unit test-sandbox test-rules test-system test-browser test-cluster test-evening test-forky chaos mutants bench day screen pictures po deb clean

help:
	@echo 'make demo            the main job on a demo mail server (STAY=1: then play with it)'
	@echo 'make evening         the first evening on a fresh host, recorded into docs/first-evening.txt (root)'
	@echo 'make test            all of the following; says at the end what cannot run here'
	@echo '                     (REQUIRE_ALL=1: that is a failure)'
	@echo 'make lint            ruff, mypy'
	@echo 'make test-unit       on a virtual clock, no network'
	@echo 'make test-sandbox    over loopback, and the demo'
	@echo 'make test-rules      every rule of triage on every kind of server'
	@echo 'make test-system     as a unit on a booted Debian with Cyrus (root); also on Stalwart and newer'
	@echo '                     Cyrus where they are (STALWART=program, CYRUS313=folder)'
	@echo '                     (SERVERS=docs: also write the table in docs/servers.md)'
	@echo 'make test-browser    the page in Cockpit, in Chromium on a booted Debian (root); the first run'
	@echo '                     takes minutes to build it; only on request'
	@echo 'make test-cluster    three hosts with Pacemaker, made by the commands of docs/fleet.md: one dies, one'
	@echo '                     is drained, the network is cut (root); some ten minutes; only on request'
	@echo 'make pictures        pictures of that page, into docs/images (root)'
	@echo 'make test-evening    first evenings and secrets on all fresh hosts (root); make test has the first'
	@echo 'make test-forky      the same on Debian forky with its Cyrus, which change: it reports, and never'
	@echo '                     fails; only on request'
	@echo 'make chaos           crashes, faults and hostile input, as a table (ROWS="kill fault": only these);'
	@echo '                     rows that this very code has passed are not repeated (FRESH=1: all are)'
	@echo 'make mutants         breaks the code in small ways, and tells what no quick test notices'
	@echo '                     (MUTANTS=n, 400 by default; SEED=s; SINCE=rev: only in changed lines)'
	@echo 'make bench           the costs in figures, each beside its target (FIGURES="sweep idling")'
	@echo 'make day             a day of a household, before and after, drawn into docs/behaviour.md'
	@echo 'make screen          the picture of mailroom screen, drawn into docs/behaviour.md'
	@echo "make po              the page's texts, into cockpit/po, for translators"
	@echo 'make deb             the Debian package, into dist/'
	@echo 'make clean           remove all that these have made'

demo:
	@packaging/venv.sh sandbox
	@.venv/bin/python -m tests.demo $(if $(STAY),--stay)

test:
	@packaging/venv.sh dev
	@.venv/bin/python -m tests.layers

lint test-unit test-sandbox test-rules test-browser test-cluster test-evening test-forky:
	@packaging/venv.sh dev
	@.venv/bin/python -m tests.layers $@

test-system:
	@packaging/venv.sh dev
	@.venv/bin/python -m tests.layers $@ test-stalwart test-cyrus313

chaos:
	@packaging/venv.sh dev
	@packaging/venv.sh fuzz || echo 'mailroom: no atheris for this Python; the row fuzz says so' >&2
	@FRESH=$(FRESH) .venv/bin/python -m tests.chaos $(ROWS)

mutants:
	@packaging/venv.sh dev
	@.venv/bin/python -m tests.mutants $(if $(MUTANTS),--count $(MUTANTS)) \
		$(if $(SEED),--seed $(SEED)) $(if $(SINCE),--since $(SINCE))

bench:
	@packaging/venv.sh dev
	@.venv/bin/python -m tests.bench $(FIGURES)

day:
	@packaging/venv.sh dev
	@.venv/bin/python -m tests.household

screen:
	@packaging/venv.sh dev
	@.venv/bin/python -m tests.screen

pictures:
	@packaging/venv.sh dev
	@.venv/bin/python -m tests.browser.pictures

po:
	@python3 packaging/translations.py po

deb:
	@packaging/build-deb.sh

.PHONY: evening
evening:
	@packaging/venv.sh dev
	@EVENING=docs .venv/bin/python -m pytest -q -m system tests/system/test_first_evening.py

clean:
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

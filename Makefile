# make demo      install, and screen real sample films
# make test      install with the test extra, and run the tests: 7 minutes on 2 cores
# make test-slow the short form of each slow suite (CONTRIBUTING)
# make test-all  all tests at full length, chaos and soak: several hours
# make check     format, lint, types, import directions, Dockerfiles and documentation
# make docs      build the documentation into docs/_build
# make fuzz      screen 20,000 damaged and hostile films: about 2 minutes on 2 cores
# make chaos     kill, stop and starve four workers while they screen 20,000 films (CONTRIBUTING)
# make soak      1,500 films an hour, for an hour, into a folder that is watched
# make emulate   screen 200 real films on emulated Arm, beside this machine (CONTRIBUTING)
# make shipped   renew the program inside the shipped bundle
# make picture   renew the picture of the README; needs Debian's chromium
# make images    build the images and run them without an engine, as root

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check --constraint docker/constraints.txt
NEEDS := pyproject.toml docker/constraints.txt
# --fresh-env: otherwise unchanged pages report no warnings, and the command reference may be stale.
SPHINX := $(BIN)/sphinx-build --quiet --fresh-env --nitpicky --fail-on-warning --keep-going

PYTEST := $(BIN)/python -m pytest -n 2 --dist loadscope --no-loadscope-reorder
SLOW := $(addprefix tests/,browser chaos cluster conversion emulation fuzz real_films soak training)

.PHONY: demo test test-slow test-all chaos soak fuzz emulate check docs shipped picture images clean

demo: $(VENV)/.demo
	$(BIN)/screening demo --out screening-demo

test: $(VENV)/.test
	$(PYTEST) -m "not postgresql"

test-slow: $(VENV)/.test
	$(PYTEST) -m postgresql tests/jobs
	$(PYTEST) $(SLOW)

test-all: $(VENV)/.test
	$(PYTEST) --long tests
	$(MAKE) chaos soak

# Other films with FUZZ="--seed 2 --mutants 50000"; CONTRIBUTING says how to make one again.
fuzz: $(VENV)/.test
	cd tests/support && ../../$(BIN)/python -m fuzz.campaign $(FUZZ)

# Both stores, some twenty minutes each on 2 cores; or one with CHAOS="--store sqlite --seed 2".
chaos: $(VENV)/.test
	cd tests/support && ../../$(BIN)/python -m chaos.campaign $(CHAOS)

# Or SOAK="--minutes 600 --films 15000", or on another queue with SOAK="--queue postgresql://…".
soak: $(VENV)/.test
	cd tests/support && ../../$(BIN)/python -m soak.hour $(SOAK)

# With SCREENING_FILMS=FOLDER; the first line builds what the others find in the user's cache.
emulate: $(VENV)/.test
	cd tests/support && ../../$(BIN)/python -m emulation.arm64
	$(BIN)/python -m pytest -n 2 --dist worksteal --long -rsfEP tests/emulation/test_aarch64.py

check: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/hadolint docker/*.Dockerfile
	$(SPHINX) docs docs/_build

docs: $(VENV)/.docs
	$(SPHINX) docs docs/_build

# After a change of code: the program inside the shipped bundle is this code.
shipped: $(VENV)/.dev
	$(BIN)/python -m exports.documents exports/shipped

picture: demo
	chromium --headless --no-sandbox --hide-scrollbars --window-size=1000,2470 --screenshot=docs/report.png \
		"file://$$(ls -td $(CURDIR)/screening-demo/*/report.html | head -1)"

# CONTRIBUTING says which of Debian's packages it needs, and what it leaves unchecked.
images:
	docker/check.sh

clean:
	rm -rf $(VENV) screening-demo dist docs/_build

$(VENV)/.%: $(NEEDS)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(INSTALL) --editable ".[$*]"
	touch $@

# `make demo` and `make test` do all the set-up on a fresh Debian or Ubuntu machine; see README.md.
VENV := build/venv
PY := $(VENV)/bin/python
export PATH := $(abspath $(VENV))/bin:$(PATH)

.PHONY: demo test bench setup host clean

demo: setup
	$(VENV)/bin/provision demo

test: setup
	$(VENV)/bin/tox run

bench: setup
	$(PY) tests/bench.py

# the distribution's part: a Docker engine, and what makes base images; only root can add what is missing
host:
	python3 -m infra.hostsetup --need mmdebstrap,openssh-client,python3-venv

setup: host $(VENV)/.done

$(VENV)/.done: pyproject.toml
	test -x $(PY) || python3 -m venv $(VENV)
	$(PY) -m pip install -q --disable-pip-version-check -e '.[plot,data,local,test,lint]' 'tox>=4'
	touch $@

clean:
	rm -rf build

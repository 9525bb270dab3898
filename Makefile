# `make demo` and `make test` do all the set-up on a fresh Debian or Ubuntu machine; see README.md.
VENV := build/venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip install -q --disable-pip-version-check
export PATH := $(abspath $(VENV))/bin:$(PATH)

NEED := mmdebstrap,openssh-client,python3-venv
test bench: NEED := $(NEED),curl,gpg,gpg-agent

.PHONY: demo test bench host clean

demo: host $(VENV)/.demo
	$(VENV)/bin/provision demo

test: host $(VENV)/.test
	$(VENV)/bin/tox run

bench: host $(VENV)/.test
	$(PY) tests/bench.py

# the distribution's part: a Docker engine, and what makes base images; only root can add what is missing
host:
	python3 -m infra.hostsetup --need $(NEED)

$(VENV)/.demo: pyproject.toml
	test -x $(PY) || python3 -m venv $(VENV)
	$(PIP) -e '.[plot,data,local]'
	touch $@

$(VENV)/.test: $(VENV)/.demo
	$(PIP) -e '.[plot,data,net,tensorboard,attest,local,test,lint]' 'tox>=4'
	touch $@

clean:
	rm -rf build

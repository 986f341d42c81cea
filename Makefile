# Every target makes what it needs; Python 3.11 or 3.12 and nothing else has to be there.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: venv test soak lint demo docs clean

venv: $(VENV)/.ready

$(VENV)/.ready: VoxelAdvSegLib/requirements.txt Testing/requirements.txt Testing/system-libraries.txt
	sh Testing/system-libraries.sh
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r Testing/requirements.txt
	touch $@

test: venv
	$(BIN)/python -m pytest -n 2 --dist loadfile

# Kills, faults, hostile files and loads, for most of an hour; writes the table of docs/trust.md.
soak: venv
	$(BIN)/python -m Testing.soak --page docs/trust.md

lint: venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

demo: venv
	$(BIN)/python -m VoxelAdvSegLib demo --output demo-output

docs: venv
	$(BIN)/python -m VoxelAdvSegLib.cli.reference docs

clean:
	rm -rf $(VENV) demo-output

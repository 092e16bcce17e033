# The two commands: `make demo` and `make test`. Both set up .venv themselves; each works alone and again.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test test-nightly lint benchmark clean

demo: $(READY)
	$(BIN)/munjang run recipes/quickstart.toml

# Files of tests go to as many workers as there are cores; the slow ones of killed runs come first, so that none is waited for.
test: $(READY)
	$(BIN)/python -m pytest -m "not nightly" --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

test-nightly: $(READY)
	$(BIN)/python -m pytest

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

benchmark: $(READY)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[all,benchmark]'
	$(BIN)/python -m benchmarks.first_whole
	$(BIN)/python -m benchmarks.training

# torch is pinned by constraints.txt, so that no CUDA libraries of gigabytes come along by accident.
# The native kernels need a C++ compiler; without one everything else works.
NATIVE := $(wildcard native/*.cpp native/*.h native/CMakeLists.txt native/pyproject.toml)
$(READY): pyproject.toml constraints.txt $(NATIVE)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo "Munjang needs Python 3.10 or newer; name one: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "no venv module here; on Debian or Ubuntu: apt-get install python3-venv"; exit 1; }
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test]'
	@command -v c++ >/dev/null && $(BIN)/python -m pip install --quiet --force-reinstall --no-deps ./native || \
		echo "munjang-native was not built (it needs a C++ compiler): nearest neighbours are found by NumPy and torch, more slowly"
	@touch $(READY)

clean:
	rm -rf $(VENV) runs

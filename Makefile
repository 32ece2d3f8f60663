# The same commands as `python3 run.py demo|test|lint|notebooks|bench|setup`, for those who have make.
PYTHON ?= python3

.PHONY: demo test lint notebooks bench setup
demo test lint notebooks bench setup:
	@$(PYTHON) run.py $@

# The same commands as `python3 run.py demo|test|lint|notebooks`, for those who have make.
PYTHON ?= python3

.PHONY: demo test lint notebooks setup
demo test lint notebooks setup:
	@$(PYTHON) run.py $@

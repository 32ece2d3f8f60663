"""Runs `python -m cardsynth`."""

from cardsynth.cli.main import main

if __name__ == "__main__":
    main()

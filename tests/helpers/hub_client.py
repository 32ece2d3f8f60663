"""Processes whose Hugging Face client talks to the tests' Hub."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hub_server import Hub

TOKEN, WRONG_TOKEN = "hf_aliceTokenThatMustNotShow", "hf_wrongTokenThatMustNotShow"
MARK = "answers: "
LOOP = f"""
import json, os, sys, traceback
from cardsynth.hub.push_pull import pull_run, push_cards, push_run
answers = {{}}
def attempt(name, call):
    try:
        answers[name] = str(call())
    except Exception as error:
        context = f"{{error.__cause__!r}} {{error.__context__!r}}"
        answers[name] = f"{{type(error).__name__}}: {{error}}"
        print(traceback.format_exc(), context)
for line in sys.stdin:
    answers.clear()
    exec(json.loads(line), globals())
    print("\\n{MARK}" + json.dumps(answers), flush=True)
"""


class HubClient:
    """Runs snippets, and returns their answers; no output may hold a token.

    Snippets with the same token and environment share a process: it takes long to start, as a kernel does.
    """

    def __init__(self, hub: Hub, folder: Path) -> None:
        self.hub, self.folder = hub, folder
        self._processes: dict[tuple[object, ...], tuple[subprocess.Popen[str], Path]] = {}

    def __call__(self, code: str, token: str | None = TOKEN, **environment: str) -> dict[str, str]:
        key = (token, *sorted(environment.items()))
        if key not in self._processes:
            self._processes[key] = self._start(token, environment)
        process, errors = self._processes[key]
        said = []
        timer = threading.Timer(600, process.kill)
        timer.start()
        process.stdin.write(json.dumps(code) + "\n")
        process.stdin.flush()
        for line in process.stdout:
            said.append(line)
            if line.startswith(MARK):
                break
        timer.cancel()
        self._check_secrets("".join(said), errors)
        if not said or not said[-1].startswith(MARK):
            del self._processes[key]  # the next snippet starts anew
            process.wait(60)
            raise AssertionError(errors.read_text())
        return json.loads(said[-1].removeprefix(MARK))

    @staticmethod
    def _check_secrets(said: str, errors: Path) -> None:
        for secret in (TOKEN, WRONG_TOKEN):
            assert secret not in said + errors.read_text()

    def _start(self, token: str | None, environment: dict[str, str]) -> tuple[subprocess.Popen[str], Path]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "HUGGING"))}
        home = self.folder / f"home-{len(list(self.folder.glob('home-*')))}"
        home.mkdir()
        settings = {"HF_ENDPOINT": self.hub.url, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1", "NO_PROXY": "*"}
        settings |= {"WRONG_TOKEN": WRONG_TOKEN} | ({"HF_TOKEN": token} if token else {}) | environment
        with (home / "stderr").open("w") as errors:
            process = subprocess.Popen(
                [sys.executable, "-c", LOOP],
                env=kept | settings,
                cwd=self.folder,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        return process, home / "stderr"

    def close(self) -> None:
        for process, errors in self._processes.values():
            rest, _ = process.communicate(timeout=60)
            self._check_secrets(rest, errors)
            assert process.returncode == 0, errors.read_text()


@contextmanager
def hub_client(hub: Hub, folder: Path) -> Iterator[HubClient]:
    """A client whose snippets run in `folder`, ended at the end."""
    client = HubClient(hub, folder)
    try:
        yield client
    finally:
        client.close()

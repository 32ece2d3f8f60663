"""Counts lines of code, without docstrings, comments and blank lines: `python tests/helpers/count_code.py src`."""

import ast
import sys
import tokenize
from collections import Counter
from pathlib import Path

SKIPPED = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENCODING,
    tokenize.ENDMARKER,
}


def code_lines(path: Path) -> int:
    """Number of lines of a Python file that hold code; docstrings, comments and blank lines do not count."""
    docstrings: set[int] = set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if node.body and isinstance(node.body[0], ast.Expr) and isinstance(node.body[0].value, ast.Constant):
            text = node.body[0]
            if isinstance(text.value.value, str):
                docstrings |= set(range(text.lineno, text.end_lineno + 1))
    lines: set[int] = set()
    with path.open("rb") as file:
        for token in tokenize.tokenize(file.readline):
            if token.type not in SKIPPED:
                lines |= set(range(token.start[0], token.end[0] + 1))
    return len(lines - docstrings)


def main(root: Path) -> None:
    """Print the lines of code of each wing below `root`, and their sum."""
    counts: Counter[str] = Counter()
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).parts
        counts["/".join(parts[: min(2, len(parts) - 1)]) or "."] += code_lines(path)
    for folder, count in sorted(counts.items()):
        print(f"{count:6d}  {folder}")
    print(f"{sum(counts.values()):6d}  in all")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""Work that worker processes import, which cannot import the test modules."""

from tqdm import tqdm


def doubled(number: int) -> int:
    for _ in tqdm(range(number), "Doubling"):
        pass
    return 2 * number

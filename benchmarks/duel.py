"""Ours against the fastest of several rivals, all in the same alternating runs."""

from collections.abc import Callable, Sequence

from benchmarks.harness import Bench, Line, Make, Measure, median
from benchmarks.rivals import Rival


def duel(
    bench: Bench,
    work: str,
    way: Callable[[Make], Measure],
    ours: Make,
    rivals: Sequence[type[Rival]],
    *,
    at_least: float,
) -> Line:
    """Measure ours and every rival that is installed; the fastest stands in the row.

    Args:
        bench: Whose runs these are.
        work: What the row says is done.
        way: `bench.publishing` or `bench.receiving`, with what they are to be given.
        ours: Makes our contender.
        rivals: Who else does it. One that is not installed is named, not left out.
        at_least: The ratio to show.

    Raises:
        RuntimeError: If no rival is installed.
    """
    able = [rival for rival in rivals if rival.missing() is None]
    if not able:
        raise RuntimeError(f"{work}: no rival is installed; pip install -e '.[bench]'")
    values = bench.alternate({"nsqlite": way(ours)} | {rival.name: way(rival) for rival in able})
    rates = {name: median(each) for name, each in values.items()}
    mine = rates.pop("nsqlite")
    best, *slower = sorted(rates, key=rates.__getitem__, reverse=True)
    others = [f"{name} {rates[name]:,.0f}/s" for name in slower]
    others += [f"{rival.name} not installed" for rival in rivals if rival not in able]
    return Line(work, best, mine, rates[best], at_least, ", ".join(others))

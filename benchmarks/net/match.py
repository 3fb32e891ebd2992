"""Nodes against nsqds: the same work on each in turn, and the rows that come of it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import attrs

from benchmarks.harness import Bench, median
from benchmarks.net.servers import KINDS, Server, Start, node, node_name, nsqd, nsqd_name

Figures = dict[str, float]
Work = Callable[[Server], Figures]
LayOut = Callable[[Path], None]


@attrs.frozen
class Goal:
    """How far ahead of a rival to be.

    Attributes:
        limit: What ours divided by theirs must be: at least, or at most where less is better. None: no matter.
        aim: What we want it to be; None for nothing.
        is_more_better: Whether the figure is one of which more is better.
        allowance: Added to what the limit allows, in the figure's own unit; where less is better only.
    """

    limit: float | None
    aim: float | None
    is_more_better: bool = True
    allowance: float = 0.0


@attrs.frozen
class Row:
    """One line of the table.

    Attributes:
        work: What was done, and by a node of which durability.
        against: Which nsqd did the same.
        unit: Of both figures.
        ours: The median of our runs.
        theirs: The median of its runs.
        goal: What the two are held against.
        our_values: Of every run.
        their_values: Of every run.
        note: What else the reader should know.
    """

    work: str
    against: str
    unit: str
    ours: float
    theirs: float
    goal: Goal
    our_values: Sequence[float]
    their_values: Sequence[float]
    note: str = ""

    @property
    def ratio(self) -> float:
        """Ours divided by theirs."""
        return self.ours / self.theirs if self.theirs else float("inf")

    @property
    def is_reached(self) -> bool:
        """Whether the limit is kept; without one there is nothing to miss."""
        if self.goal.limit is None:
            return True
        if self.goal.is_more_better:
            return self.ours >= self.goal.limit * self.theirs
        return self.ours <= self.goal.limit * self.theirs + self.goal.allowance

    @property
    def is_aim_reached(self) -> bool:
        """Whether it is as good as we want it; the allowance is for the limit only."""
        if self.goal.aim is None:
            return False
        if self.goal.is_more_better:
            return self.ours >= self.goal.aim * self.theirs
        return self.ours <= self.goal.aim * self.theirs


@attrs.frozen
class Scores:
    """What each contender did in each run.

    Attributes:
        values: By contender, then by figure, one value a run.
    """

    values: Mapping[str, Mapping[str, Sequence[float]]]

    def rows(
        self, work: str, figure: str, unit: str, goals: Mapping[tuple[str, str], Goal], note: str = ""
    ) -> Iterator[Row]:
        """A row for each goal, and another for the same node without uvloop, if it took part.

        Args:
            work: What was done.
            figure: Which of the figures the rows are about.
            unit: Of it.
            goals: By the node's durability and the kind of nsqd.
            note: For the first of the rows.
        """
        for (durability, kind), goal in goals.items():
            theirs = self.values[nsqd_name(kind)][figure]
            for name in (node_name(durability, True), node_name(durability, False)):
                if name in self.values:
                    ours, against = self.values[name][figure], f"{kind}, {KINDS[kind]}"
                    yield Row(f"{work}, {name}", against, unit, median(ours), median(theirs), goal, ours, theirs, note)
                    note = ""

    def median(self, contender: str, figure: str) -> float:
        """One contender's figure."""
        return median(self.values[contender][figure])


def _nothing(_: Path) -> None:
    """No file."""


@attrs.frozen
class Match:
    """What a question is given to answer with.

    Attributes:
        bench: Runs, seconds, and where the stores go.
        is_without_uvloop: Whether each node takes part once more, without uvloop.
        has_http: Whether each node listens for HTTP, too. nsqds always do.
    """

    bench: Bench
    is_without_uvloop: bool
    has_http: bool = False

    def play(self, work: Work, durabilities: Sequence[str], kinds: Sequence[str], lay_out: LayOut = _nothing) -> Scores:
        """Take each contender in turn, `runs` times round, each on a fresh server in an empty folder.

        Args:
            work: What is measured.
            durabilities: Of the nodes that take part.
            kinds: Of the nsqds that do.
            lay_out: Puts files into the folder first, for an nsqd to find.
        """
        starts: dict[str, Start] = {nsqd_name(kind): nsqd(kind) for kind in kinds}
        for durability in durabilities:
            for has_uvloop in (True, False) if self.is_without_uvloop else (True,):
                starts[node_name(durability, has_uvloop)] = node(durability, has_uvloop, self.has_http)
        told: dict[str, list[Figures]] = {name: [] for name in starts}
        for _ in range(self.bench.runs):
            for name, start in starts.items():
                with self.bench.folder() as path:
                    lay_out(path)
                    with start(path) as server:
                        told[name].append(work(server))
        return Scores({name: _by_figure(runs) for name, runs in told.items()})

    def rows(
        self, what: str, work: Work, figure: str, unit: str, goals: Mapping[tuple[str, str], Goal]
    ) -> Iterator[Row]:
        """Play with the contenders that the goals name, for one figure; see Scores.rows."""
        durabilities = list(dict.fromkeys(durability for durability, _ in goals))
        kinds = list(dict.fromkeys(kind for _, kind in goals))
        yield from self.play(work, durabilities, kinds).rows(what, figure, unit, goals)


def _by_figure(runs: Sequence[Figures]) -> dict[str, list[float]]:
    return {figure: [each[figure] for each in runs] for figure in runs[0]}

"""Workers on one node, interleaved by a seed, and the axioms that must hold.

The model cannot say what two threads at once should see; these can, and they are
checked as the story goes:

* Nothing is invented: what comes was being published before, body for body.
* Nothing is lost: every channel that was there before a publish began delivers it.
* What was finished never comes again.
* Attempts of a message on a channel are 1, 2, 3, ...: each number exactly once.
* Nothing is in two places: who holds a message holds it alone until its deadline.
* Fresh messages come to each receiver in the order of publishing.
* What was emptied or deleted does not come back, not by being settled meanwhile either.
* A copy of the store taken between any two steps, as a kill would leave it, opens
  with all of that: only finishes that nobody synced may be forgotten.
"""

# ruff: noqa: D102 - the methods are the operations, and do what their names say

import itertools
import random
import shutil
import tempfile
from pathlib import Path

import attrs

import nsqlite
from nsqlite.clock import VirtualClock
from nsqlite.errors import ChannelDeletedError, NotInFlightError
from nsqlite.lifetime import forget_engine
from tests.properties.pair import drain, read_all, write_all
from tests.properties.scheduler import SECOND, Scheduler, SimulatedClock

TOPIC = "orders"
MSG_TIMEOUT, MAX_MSG_TIMEOUT = 5.0, 60.0
MSG_TIMEOUT_NS, MAX_MSG_TIMEOUT_NS = int(MSG_TIMEOUT * SECOND), int(MAX_MSG_TIMEOUT * SECOND)
TINY = {"settle_bytes": 2048, "settle_interval": 0.25, "cache_bytes": 2048}
NEVER = 1 << 62


@attrs.define
class Published:
    """A body: when its publish began and ended, in steps of the story."""

    body: bytes
    began: int
    ended: int = NEVER
    id: bytes = b""
    is_delayed: bool = False


@attrs.define
class Given:
    """What is known of one body on one life of a channel."""

    attempts: set[int] = attrs.Factory(set)
    attempts_at: list[int] = attrs.Factory(list)
    holder: str | None = None
    taken_ns: int = 0
    alone_until_ns: int = 0
    finish_began: int = NEVER
    finish_ended: int = NEVER


@attrs.define
class Life:
    """A channel from its creation to its deletion."""

    name: str
    create_began: int
    began: int = NEVER
    ended: int = NEVER
    delete_began: int = NEVER
    empties: list[list[int]] = attrs.Factory(list)
    given: dict[bytes, Given] = attrs.Factory(dict)
    handle: nsqlite.Channel | None = None


@attrs.define
class Image:
    """The store's files between two steps."""

    at: int
    wall_ns: int
    files: dict[str, bytes]


class Story:
    """One seed: the workers, what they did, and what must be true of it."""

    def __init__(self, seed: int, durability: str, operations: int = 25, images: int = 3) -> None:
        self.scheduler = Scheduler(seed)
        self.dice = self.scheduler.random
        self.durability, self.operations, self.images_wanted = durability, operations, images
        self.folder = Path(tempfile.mkdtemp(prefix="nsqlite-simulation-"))
        self.clock = SimulatedClock(self.scheduler)
        self.steps = itertools.count(1)
        self.published: dict[bytes, Published] = {}
        self.lives: list[Life] = []
        self.syncs: list[tuple[int, int]] = []  # began, ended
        self.images: list[Image] = []
        self.log: list[str] = []
        self.last: dict[tuple[str, int], bytes] = {}
        self.workers_left = 0
        self.node: nsqlite.Node | None = None
        self.do_empty = self.dice.random() < 0.4
        self.do_delete = self.dice.random() < 0.4
        self.options = {"msg_timeout": MSG_TIMEOUT, "max_msg_timeout": MAX_MSG_TIMEOUT}
        if durability != "memory":
            self.options |= TINY
        if durability == "commit":
            self.options["journal_writes"] = self.dice.choice(["mapped", "pwrite"])

    def step(self, told: str = "") -> int:
        number = next(self.steps)
        if told:
            self.log.append(f"{number:5} {told}")
        return number

    # -- running

    def run(self) -> None:
        """Live the story, then look at the images it left."""
        try:
            with self.scheduler.installed():
                self.scheduler.at_switch = self._maybe_image
                self.scheduler.run(self._main)
            for image in self.images:
                self._check_image(image)
        except BaseException:
            if self.node is not None:
                forget_engine(self.node.engine)  # its locks went with the scheduler: nothing can close it
            raise
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _open(self, path: Path, clock: object) -> nsqlite.Node:
        if self.durability == "memory":
            return nsqlite.open(clock=clock, **self.options)
        return nsqlite.open(path, durability=self.durability, clock=clock, **self.options)

    def _main(self) -> None:
        self.node = self._open(self.folder / "store", self.clock)
        self.topic = self.node.topic(TOPIC)
        self._create("mail")
        jobs = [self._publisher, self._publisher, self._consumer("mail"), self._consumer("mail")]
        jobs += [self._consumer("audit"), self._keeper]
        for number, job in enumerate(jobs):
            self.workers_left += 1
            self.scheduler.spawn(f"worker-{number}", self._worker(job, number))
        self.scheduler.wait(lambda: not self.workers_left)
        self._drain()
        self.node.check()
        self.node.close()

    def _worker(self, job: object, number: int) -> object:
        def work() -> None:
            dice = random.Random(self.dice.random())
            for _ in range(self.operations):
                job(f"worker-{number}", dice)
                if dice.random() < 0.3:
                    self.node.check()
            self.workers_left -= 1

        return work

    def _maybe_image(self) -> None:
        """Between two steps: sometimes keep what a kill would leave now."""
        if self.durability != "memory" and len(self.images) < self.images_wanted and self.dice.random() < 0.001:
            store = self.folder / "store"
            if (store / "lmdb").exists() and self.lives:
                self.images.append(Image(self.step("image"), self.scheduler.wall_ns, read_all(store)))

    # -- workers

    def _publisher(self, me: str, dice: random.Random) -> None:
        count = dice.choice([1, 1, 1, 3, 8])
        delay = dice.choice([0, 0, 0, 0, 0.5, 7.0])
        size = dice.choice([1, 50, 700])
        began = self.step(f"{me} publishes {count}, delay {delay}")
        bodies = [b"%d-%d " % (began, n) + b"." * size for n in range(count)]
        for body in bodies:
            self.published[body] = Published(body, began, is_delayed=bool(delay))
        if count == 1:
            ids = [self.topic.publish(bodies[0], delay=delay or None)]
        else:
            ids = self.topic.publish_many(bodies, delay=delay or None)
        ended = self.step(f"{me} has published from {ids[0].decode()}")
        assert len(ids) == count
        for body, message_id in zip(bodies, ids, strict=True):
            self.published[body].ended, self.published[body].id = ended, message_id

    def _consumer(self, name: str) -> object:
        held: dict[str, list[tuple[Life, nsqlite.Message]]] = {}

        def consume(me: str, dice: random.Random) -> None:
            mine = held.setdefault(me, [])
            if mine and dice.random() < 0.6:
                self._answer(me, dice, mine.pop(dice.randrange(len(mine))))
                return
            life = self._create(name)
            began, began_ns = self.step(), self.scheduler.now_ns
            timeout = dice.choice([0, 0, 1.0])
            try:
                if dice.random() < 0.5:
                    message = life.handle.receive(timeout=timeout)
                    messages = [message] if message else []
                else:
                    messages = life.handle.receive_many(dice.choice([2, 10]), timeout=timeout)
            except ChannelDeletedError:
                assert life.delete_began != NEVER
                return
            for message in messages:
                self._taken(me, life, message, began, began_ns)
                mine.append((life, message))

        return consume

    def _answer(self, me: str, dice: random.Random, held: tuple[Life, nsqlite.Message]) -> None:
        life, message = held
        given = life.given[message.body]
        verb = dice.choice(["finish", "finish", "finish", "finish_many", "requeue", "defer", "touch"])
        began = self.step(f"{me} {verb} {message.id.decode()} of {life.name}, attempt {message.attempts}")
        began_ns, until_ns = self.scheduler.now_ns, given.alone_until_ns
        is_mine = given.holder == f"{me} {message.attempts}"
        if is_mine and verb != "touch":
            given.alone_until_ns = 0  # from now on it may be anywhere
        if is_mine and verb.startswith("finish"):
            given.finish_began = began
        try:
            if verb == "finish":
                message.finish()
            elif verb == "finish_many":
                life.handle.finish_many([message])
            elif verb == "requeue":
                message.requeue()
            elif verb == "defer":
                message.requeue(delay=dice.choice([0.5, 9.0]))
            else:
                message.touch()
        except (NotInFlightError, ChannelDeletedError):
            is_gone = life.delete_began != NEVER or bool(life.empties)
            assert is_gone or not is_mine or self.scheduler.now_ns >= until_ns, "an answer in time was refused"
            if given.finish_began == began:
                given.finish_began = NEVER
            return
        assert is_mine, "an answer by who no longer holds it was accepted"
        if verb == "touch" and given.holder == f"{me} {message.attempts}":
            until_ns = min(began_ns + MSG_TIMEOUT_NS, given.taken_ns + MAX_MSG_TIMEOUT_NS)
            given.alone_until_ns = max(given.alone_until_ns, until_ns)
        if verb.startswith("finish"):
            given.finish_ended = self.step()

    def _keeper(self, me: str, dice: random.Random) -> None:
        """Time, syncs, new channels, and what removes messages on purpose."""
        what = dice.choice(["advance", "advance", "sync", "create", "empty", "delete", "stats"])
        if what == "advance":
            seconds = dice.choice([0.03, 0.3, 2.0, 6.0])
            self.step(f"{me} advances {seconds}")
            self.scheduler.advance_ns(int(seconds * SECOND))
            self.scheduler.switch()
        elif what == "sync":
            began = self.step(f"{me} syncs")
            self.node.sync()
            self.syncs.append((began, self.step(f"{me} has synced")))
        elif what == "create":
            self._create(dice.choice(["audit", "third"]))
        elif what == "empty" and self.do_empty:
            self._empty(me, dice.choice(["mail", "audit"]))
        elif what == "delete" and self.do_delete:
            self._delete(me, dice.choice(["audit", "third"]))
        else:
            self.node.stats()

    def _empty(self, me: str, name: str) -> None:
        life = self._life(name)
        if life is None:
            return
        empty = [self.step(f"{me} empties {name}"), NEVER]
        life.empties.append(empty)
        try:
            life.handle.empty()
        except ChannelDeletedError:
            assert life.delete_began != NEVER
        empty[1] = self.step(f"{me} has emptied {name}")

    def _delete(self, me: str, name: str) -> None:
        life = self._life(name)
        if life is None or life.delete_began != NEVER:
            return
        life.delete_began = self.step(f"{me} deletes {name}")
        self.topic.delete_channel(name)
        life.ended = self.step(f"{me} has deleted {name}")

    # -- channels

    def _life(self, name: str) -> Life | None:
        """The channel of that name, if it is there and nobody makes or deletes it just now."""
        known = next((life for life in self.lives if life.name == name and life.ended == NEVER), None)
        return known if known and known.began != NEVER and known.delete_began == NEVER else None

    def _create(self, name: str) -> Life:
        """Get or create; waits for who creates or deletes it, so that a life is known by its time."""
        others = [life for life in self.lives if life.name == name and life.ended == NEVER]
        if others:
            self.scheduler.wait(lambda: others[0].ended != NEVER or self._life(name) is not None)
            return self._life(name) or self._create(name)
        life = Life(name, self.step(f"creates {name}"))
        self.lives.append(life)
        life.handle = self.topic.channel(name)
        life.began = self.step(f"created {name}")
        return life

    # -- axioms

    def _taken(self, me: str, life: Life, message: nsqlite.Message, began: int, began_ns: int) -> None:
        """A receive that began then returned this. Others may have gone on meanwhile."""
        now = self.step(f"{me} receives {message.id.decode()} of {life.name}, attempt {message.attempts}")
        origin = self.published.get(message.body)
        assert origin is not None, "invented"
        assert origin.id in (b"", message.id)
        self._assert_may_come(life, origin, began)
        given = life.given.setdefault(message.body, Given())
        assert given.finish_ended > began, "finished, and back"
        assert message.attempts not in given.attempts, "the same attempt twice"
        if message.attempts > max(given.attempts, default=0):
            if given.holder is not None:
                assert self.scheduler.now_ns >= given.alone_until_ns, f"also held by {given.holder}"
            given.holder = f"{me} {message.attempts}"
            given.taken_ns, given.alone_until_ns = began_ns, began_ns + MSG_TIMEOUT_NS
        given.attempts.add(message.attempts)
        given.attempts_at.append(now)
        if message.attempts == 1 and not origin.is_delayed:
            key = me, life.create_began
            assert self.last.get(key, b"") < message.id, "fresh messages out of order"
            self.last[key] = message.id

    def _assert_may_come(self, life: Life, origin: Published, began: int) -> None:
        """Not what was emptied before `began`, and not what others had seen before the channel was made."""
        emptied = any(origin.ended < empty[0] and empty[1] < began for empty in life.empties)
        assert not emptied, f"{origin.id!r} was emptied, and is back"
        assert origin.ended > life.create_began, f"{origin.id!r} is older than channel {life.name}"

    def _is_owed(self, life: Life, origin: Published, at: int = NEVER) -> bool:
        """Whether the channel must have this body at a time, unless it was finished."""
        if not (life.began < origin.began and origin.ended < at) or life.delete_began < at:
            return False
        return not any(began < at and origin.began < ended for began, ended in life.empties)

    def _drain(self) -> None:
        """The end: everything owed comes, then nothing more."""
        for life in self.lives:
            if life.delete_began != NEVER:
                continue
            channel = life.handle
            while True:
                began, began_ns = self.step(), self.scheduler.now_ns
                messages = channel.receive_many(50, timeout=0)
                for message in messages:
                    self._taken("drain", life, message, began, began_ns)
                    life.given[message.body].finish_began = self.step()
                if messages:
                    channel.finish_many(messages)
                    for message in messages:
                        life.given[message.body].finish_ended = self.step()
                elif channel.in_flight_count or channel.deferred_count:
                    self.scheduler.advance_ns(61 * SECOND)
                else:
                    break
            assert channel.depth == 0
            for origin in self.published.values():
                given = life.given.get(origin.body)
                if self._is_owed(life, origin):
                    assert given is not None, f"lost: {origin.body[:20]!r} on {life.name}"
                    assert given.finish_ended < NEVER, f"unfinished, and gone: {origin.body[:20]!r} on {life.name}"
                if given is not None:
                    assert given.attempts == set(range(1, len(given.attempts) + 1)), "attempts with gaps"

    def _check_image(self, image: Image) -> None:
        """What a kill at that step would have left opens with all that was promised."""
        path = self.folder / f"image-{image.at}"
        write_all(path, image.files)
        clock = VirtualClock(wall_ns=image.wall_ns)
        with self._open(path, clock) as node:
            node.check()
            topic = node.topic(TOPIC)
            for life in self.lives:
                if life.began < image.at < life.delete_began:
                    assert life.name in topic.channels, f"channel {life.name} lost at {image.at}"
                    self._check_image_channel(image, life, node, clock)
                elif life.ended < image.at and not any(
                    other.name == life.name and other.began > life.ended for other in self.lives
                ):
                    assert life.name not in topic.channels, f"deleted {life.name} is back at {image.at}"
            node.check()
        shutil.rmtree(path)

    def _check_image_channel(self, image: Image, life: Life, node: nsqlite.Node, clock: VirtualClock) -> None:
        by_id = {origin.id: origin for origin in self.published.values() if origin.id}
        found = drain(node, clock, TOPIC, life.name)
        for message_id, attempts in found.items():
            origin = by_id.get(message_id)
            assert origin is not None, f"invented {message_id!r}"
            assert origin.began < image.at, f"{message_id!r} from the future"
            self._assert_may_come(life, origin, image.at)
            given = life.given.get(origin.body, Given())
            synced = [sync for sync in self.syncs if given.finish_ended < sync[0] and sync[1] < image.at]
            assert not synced, f"{message_id!r} was finished and synced, and is back"
            handed = sum(at < image.at for at in given.attempts_at)
            assert attempts > handed, f"{message_id!r} forgot an attempt: {attempts} after {handed}"
            assert attempts <= len(given.attempts_at) + 2
        for origin in self.published.values():
            given = life.given.get(origin.body, Given())
            if self._is_owed(life, origin, image.at) and given.finish_began > image.at:
                assert origin.id in found, f"a kill at {image.at} loses {origin.id!r} on {life.name}"


def run_seed(seed: int, durability: str, **options: int) -> Story:
    """Run one story; on failure say the seed and the last of what happened."""
    story = Story(seed, durability, **options)
    try:
        story.run()
    except BaseException as error:
        tail = "\n".join(story.log[-40:])
        error.add_note(f"seed {seed} at {durability!r}, step {next(story.steps)}; before:\n{tail}")
        raise
    return story

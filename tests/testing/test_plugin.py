"""The pytest plugin, as somebody else's project meets it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import nsqlite.testing.nsq
import nsqlite.testing.nsqd  # noqa: F401  # both now, since pytester forgets what tests import: no C code is loaded twice

pytest_plugins = ["pytester"]

UNUSED = ("nsqlite.engine", "nsqlite.node", "nsqlite.testing.nsq", "aiohttp", "asyncio", "lmdb", "attrs", "attr")
INI = "[pytest]\naddopts = --strict-markers -p no:cacheprovider\nfilterwarnings = error\n"


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    """A project that knows nothing of this one, and whose warnings are errors."""
    pytester.makeini(INI + "asyncio_default_fixture_loop_scope = function\n")  # else pytest-asyncio warns
    return pytester


def run(project: pytest.Pytester, source: str, *arguments: str) -> pytest.RunResult:
    """Run tests of a file in this process."""
    project.makepyfile(source)
    return project.runpytest_inprocess(*arguments)


# -- passing and failing -------------------------------------------------------------------


def test_fixtures_work_as_in_the_readme(project: pytest.Pytester) -> None:
    """Handlers, time that stands still, claims."""
    result = run(
        project,
        """
        def test_orders_send_mail(nsq, nsq_clock):
            def handle_order(message):
                nsq.publish("mail", message.body)
                nsq.publish("reminders", message.body, delay=3600)

            nsq.on("orders", "billing", handle_order)
            nsq.on("reminders", "sender", lambda message: None)
            nsq.publish("orders", b"7")
            nsq.drain()
            nsq.assert_published("mail", body=b"7", count=1)
            nsq.assert_published("reminders", delay=3600)
            nsq_clock.advance(3600)
            nsq.drain()
            nsq.assert_finished("reminders", "sender")
            nsq.assert_empty()
            assert nsq.clock is nsq_clock
        """,
    )

    result.assert_outcomes(passed=1)


def test_failing_claim_prints_the_table(project: pytest.Pytester) -> None:
    """Where pytest prints why a test has failed."""
    result = run(
        project,
        """
        def test_mail(nsq, nsq_clock):
            nsq.on("orders", "billing", lambda message: message.requeue(delay=90))
            nsq.publish("orders", b"7")
            nsq_clock.advance(1.5)
            nsq.drain()
            nsq.assert_published("mail", body=b"7", count=1)
        """,
    )

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "E *AssertionError: no message was published in mail with body '7', not 1",
            "E *  TIME   EVENT      TOPIC   CHANNEL  ATTEMPTS  DELAY  BODY",
            "E *  0 s    published  orders                            '7'",
            "E *  1.5 s  delivered  orders  billing  1                '7'",
            "E *  1.5 s  requeued   orders  billing  1         90 s   '7'",
            "E *  TOPIC   CHANNEL  WAITING  IN FLIGHT  DEFERRED",
            "E *  orders  billing  0        0          1",
        ]
    )


def test_failing_handler_fails_the_test(project: pytest.Pytester) -> None:
    """With its own traceback, and whose it is."""
    result = run(
        project,
        """
        def handle(message):
            return 1 // 0

        def test_orders(nsq):
            nsq.on("orders", "billing", handle)
            nsq.publish("orders", b"7")
            nsq.drain()
        """,
    )

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*return 1 // 0", "E *ZeroDivisionError*", "*raised by the handler of orders:billing*"]
    )


@pytest.mark.parametrize("fixture", ["nsq", "nsqd"])
def test_unsound_node_fails_its_test_by_name(project: pytest.Pytester, fixture: str) -> None:
    """Not the teardown, and not the next one."""
    result = run(
        project,
        f"""
        def test_breaks({fixture}):
            channel = {fixture}.node.topic("orders").channel("billing")
            {fixture}.node.engine.broker.topics["orders"].channels["billing"].ready_count = 1

        def test_next({fixture}):
            pass
        """,
    )

    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["FAILED *::test_breaks - *"])


def test_failed_node_fails_its_test(project: pytest.Pytester) -> None:
    """Though nobody has asked it anything."""
    result = run(
        project,
        """
        def test_breaks(nsq):
            nsq.node.engine.fail(RuntimeError("broken off"))
        """,
    )

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*the node has failed: RuntimeError: broken off*"])


def test_failing_test_is_not_overlaid_by_the_check(project: pytest.Pytester) -> None:
    """What failed first is what is read."""
    result = run(
        project,
        """
        def test_breaks(nsq):
            nsq.node.engine.fail(RuntimeError("broken off"))
            assert "the test" == "itself"
        """,
    )

    result.assert_outcomes(failed=1)
    result.stdout.no_fnmatch_line("*the node has failed*")


def test_code_under_test_may_close_the_node(project: pytest.Pytester) -> None:
    """A service that ends has not broken anything."""
    result = run(project, "def test_ends(nsq):\n    nsq.node.close()\n")

    result.assert_outcomes(passed=1)


def test_every_test_has_its_own(project: pytest.Pytester) -> None:
    """Nothing of one is in another; within one, fixtures see the same node."""
    result = run(
        project,
        """
        import pytest

        @pytest.fixture
        def service(nsq):
            nsq.publish("orders", b"from a fixture")
            return nsq

        @pytest.mark.parametrize("number", range(3))
        def test_own(nsq, service, nsq_clock, number):
            assert service is nsq
            nsq.assert_published("orders", count=1)
            assert nsq_clock.now == 0
            nsq_clock.advance(10)

        @pytest.fixture(scope="module")
        def wide(nsq):
            pass

        def test_wide(wide):
            pass
        """,
    )

    result.assert_outcomes(passed=3, errors=1)
    result.stdout.fnmatch_lines(["*ScopeMismatch*"])


def test_nsqd_serves_real_clients(project: pytest.Pytester) -> None:
    """On free ports; with the test's clock if it asks for that."""
    result = run(
        project,
        """
        import socket

        from nsqlite import SystemClock

        def test_tcp(nsqd):
            host, port = nsqd.tcp_address.host, nsqd.tcp_address.port
            with socket.create_connection((host, port)) as client:
                client.sendall(b"  V2PUB orders\\n\\x00\\x00\\x00\\x017")
                assert nsqd.wait_for("orders").body == b"7"
            nsqd.assert_published("orders", body=b"7", count=1)

        def test_clock(nsqd, nsq_clock):
            assert nsqd.clock is nsq_clock

        def test_real_time(nsqd):
            assert isinstance(nsqd.clock, SystemClock)
        """,
    )

    result.assert_outcomes(passed=3)


def test_cluster_is_made_by_the_test(project: pytest.Pytester) -> None:
    """As many as it wants; all are checked and closed."""
    result = run(
        project,
        """
        def test_discovery(nsq_cluster):
            cluster = nsq_cluster(nodes=2)
            assert len(cluster.nodes) == 2
            assert cluster.lookupd_http_address
            cluster.nodes[0].stop()

        def test_breaks(nsq_cluster):
            node = nsq_cluster(nodes=1).nodes[0].node
            node.topic("orders").channel("billing")
            node.engine.broker.topics["orders"].channels["billing"].ready_count = 1
        """,
    )

    result.assert_outcomes(passed=1, failed=1)


# -- the marker ----------------------------------------------------------------------------


def test_marker_says_how_nodes_are_made(project: pytest.Pytester) -> None:
    """Durability, topics and options; the closest marker wins, name by name."""
    result = run(
        project,
        """
        import pytest

        pytestmark = pytest.mark.nsq(durability="commit", topics=["orders:billing"])

        def test_module(nsq):
            assert nsq.node.topic("orders").channels == ["billing"]
            nsq.publish("orders", b"x")
            nsq.crash()
            assert nsq.node.topics == ["orders"]

        @pytest.mark.nsq(durability="memory", msg_timeout=5)
        def test_closer(nsq):
            assert nsq.node.options.msg_timeout == 5
            assert nsq.node.topics == ["orders"]
            nsq.crash()
            assert nsq.node.topics == []

        @pytest.mark.nsq(durability="disk")
        class TestDisk:
            @pytest.mark.nsq(topics=["mail"])
            def test_disk(self, nsq):
                assert nsq.node.topics == ["mail"]
                assert nsq.node.engine.storage.store_bytes > 0

        @pytest.mark.nsq(seed=7, max_body_size=100)
        def test_listener(nsqd):
            assert nsqd.node.topics == ["orders"]

        @pytest.mark.nsq(seed=7)
        def test_seed_is_nothing_to_it(nsq):
            pass
        """,
    )

    result.assert_outcomes(passed=5)


@pytest.mark.parametrize(
    "marker,said",
    [
        ("'commit'", "*the marker nsq takes names only, as in nsq(durability='commit')*"),
        ("durability='fast'", "*durability*give one of memory, commit, fsync, disk*"),
        ("nonsense=1", "*the marker nsq does not take nonsense: there is no such option. It takes durability, seed*"),
        ("clock=3", "*the marker nsq does not take clock: *; ask for the fixture nsq_clock. It takes durability*"),
        ("nodes=3", "*the marker nsq does not take nodes: *; call nsq_cluster(nodes=...)*"),
        ("topics=3", "*topics=3*give a list of names*"),
        ("topics=['no spaces']", "*no spaces*"),
    ],
)
def test_marker_that_says_nothing_known_is_refused(project: pytest.Pytester, marker: str, said: str) -> None:
    """At the test that has it, with what there is."""
    result = run(
        project,
        f"""
        import pytest

        @pytest.mark.nsq({marker})
        def test_marked(nsq):
            pass
        """,
    )

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([said])


def test_marker_is_known(project: pytest.Pytester) -> None:
    """To `--markers`, and so to `--strict-markers`; another name is refused."""
    known = project.runpytest_inprocess("--markers")
    unknown = run(project, "import pytest\n\n@pytest.mark.nsqq\ndef test_it():\n    pass\n")

    known.stdout.fnmatch_lines(
        ["@pytest.mark.nsq(durability='fsync', seed=0, topics=(), ?*options): how the fixtures*"]
    )
    unknown.assert_outcomes(errors=1)


def test_fixtures_are_listed_with_what_they_do(project: pytest.Pytester) -> None:
    """`--fixtures` is where one looks first."""
    result = project.runpytest_inprocess("--fixtures")

    result.stdout.fnmatch_lines(
        [
            "nsq_clock -- *",
            "    Time that stands still until the test moves it: `advance`, `advance_to_next`.",
            "nsq -- *",
            "    NSQ in this process, in memory, on `nsq_clock`; see nsqlite.testing.Nsq.",
            "nsqd -- *",
            "    An nsqd in this process, on free ports, for any NSQ client; see nsqlite.testing.Nsqd.",
            "nsq_cluster -- *",
            "    Makes clusters of nodes and an nsqlookupd, all in this process: ``nsq_cluster(nodes=2)``.",
        ]
    )


# -- other plugins and runners -------------------------------------------------------------


def test_plugin_can_be_left_out(project: pytest.Pytester) -> None:
    """`-p no:nsqlite` takes fixtures and marker away."""
    result = run(project, "def test_it(nsq):\n    pass\n", "-p", "no:nsqlite")

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*fixture 'nsq' not found*"])


def test_many_at_once_with_xdist(project: pytest.Pytester) -> None:
    """Two processes, many nodes, no fixed port."""
    project.makepyfile(
        """
        import pytest

        @pytest.mark.parametrize("number", range(6))
        def test_nsqd(nsqd, nsq, number):
            nsqd.publish("orders", b"%d" % number)
            nsq.publish("orders", b"%d" % number)
            nsqd.assert_published("orders", body=b"%d" % number, count=1)
        """
    )

    result = project.runpytest_subprocess("-n", "2")

    result.assert_outcomes(passed=6)


ASYNC_TEST = """
import asyncio

import pytest

from nsqlite import aio

{mark}

async def test_tasks(nsq, nsq_clock):
    done = []

    async def handle(message):
        await nsq_clock.asleep(30)
        done.append(message.body)

    async def consume():
        async for message in aio.face(nsq.node).topic("mail").channel("sender").consume():
            async with message:
                nsq.publish("orders", message.body)

    task = asyncio.ensure_future(consume())
    nsq.on("orders", "billing", handle)
    await aio.face(nsq.node).publish("mail", b"7")
    await nsq.drained(jump=True)
    assert (done, nsq_clock.now) == ([b"7"], 30.0)
    nsq.assert_empty()
    task.cancel()

async def test_refused(nsq):
    with pytest.raises(RuntimeError, match="drained"):
        nsq.drain()

async def test_nsqd(nsqd):
    reader, writer = await asyncio.open_connection(nsqd.tcp_address.host, nsqd.tcp_address.port)
    writer.write(b"  V2PUB orders\\n\\x00\\x00\\x00\\x017")
    assert (await nsqd.await_for("orders")).body == b"7"
    writer.close()
    await writer.wait_closed()
"""


def test_beside_pytest_asyncio(project: pytest.Pytester) -> None:
    """Fixtures in async test functions."""
    result = run(project, ASYNC_TEST.format(mark="pytestmark = pytest.mark.asyncio"), "-p", "no:anyio")

    result.assert_outcomes(passed=3)


def test_beside_anyio(project: pytest.Pytester) -> None:
    """The same with the plugin that comes with anyio."""
    backend = '@pytest.fixture\ndef anyio_backend():\n    return "asyncio"\n'
    mark = f"pytestmark = pytest.mark.anyio\n\n{backend}"
    project.makeini(INI)

    result = run(project, ASYNC_TEST.format(mark=mark), "-p", "no:asyncio")

    result.assert_outcomes(passed=3)


def test_in_a_class_of_unittest(project: pytest.Pytester) -> None:
    """Run by pytest, and by unittest itself."""
    project.makepyfile(
        test_unit="""
        import unittest

        import nsqlite.testing

        class TestOrders(unittest.TestCase):
            def setUp(self):
                self.nsq = self.enterContext(nsqlite.testing.nsq(topics=["mail:sender"]))

            def test_mail(self):
                self.nsq.on("orders", "billing", lambda message: self.nsq.publish("mail", message.body))
                self.nsq.publish("orders", b"7")
                self.nsq.drain()
                self.nsq.assert_published("mail", body=b"7", count=1)

            def test_block(self):
                with nsqlite.testing.nsq() as nsq:
                    nsq.publish("orders", b"7")
        """
    )

    project.runpytest_inprocess().assert_outcomes(passed=2)
    result = project.run(sys.executable, "-W", "error", "-m", "unittest", "-q", "test_unit")
    assert result.ret == 0


# -- cost ----------------------------------------------------------------------------------


def loaded(tmp_path: Path, code: str) -> list[str]:
    """Which of the modules that cost something a fresh interpreter has, after some code."""
    script = f"import sys, json\n{code}\nprint(json.dumps([name for name in {UNUSED!r} if name in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    names: list[str] = json.loads(done.stdout.splitlines()[-1])
    return names


def test_plugin_imports_nothing(tmp_path: Path) -> None:
    """It is imported by every pytest run of everybody who has nsqlite installed."""
    assert loaded(tmp_path, "import pytest; before = set(sys.modules); import nsqlite.testing.plugin") == []


def test_pytest_run_that_does_not_use_it_imports_nothing(tmp_path: Path) -> None:
    """Not by collecting, configuring or running tests; other plugins that load asyncio are left out."""
    (tmp_path / "test_it.py").write_text("def test_it():\n    pass\n", encoding="utf-8")
    others = "".join(
        f", '-p', 'no:{name}'" for name in ("asyncio", "anyio", "hypothesispytest", "xdist", "xdist.looponfail")
    )

    names = loaded(tmp_path, f"import pytest; assert pytest.main(['-q', 'test_it.py'{others}]) == 0")

    assert names == []


def test_thread_that_sleeps_does_not_outlive_its_test(project: pytest.Pytester) -> None:
    """The end of the fixtures wakes it, with or without a node."""
    result = run(
        project,
        """
        import contextlib, threading
        import pytest
        import nsqlite

        threads = []

        def start(clock):
            def work():
                with contextlib.suppress(nsqlite.ClosedError):
                    while True:
                        clock.sleep(60)

            threads.append(threading.Thread(target=work))
            threads[-1].start()
            clock.wait_for_sleepers()

        def test_clock(nsq_clock):
            start(nsq_clock)

        def test_nsq(nsq):
            start(nsq.clock)

        def test_nsqd(nsqd, nsq_clock):
            start(nsq_clock)

        def test_all_have_ended():
            for each in threads:
                each.join(20)
            assert not any(each.is_alive() for each in threads)
        """,
    )

    result.assert_outcomes(passed=4)


def test_one_topic_may_be_a_str(project: pytest.Pytester) -> None:
    """Not a row of topics of one letter each; for a listener, too."""
    result = run(
        project,
        """
        import pytest

        @pytest.mark.nsq(topics="orders")
        def test_topic(nsq, nsqd):
            assert nsq.node.topics == nsqd.node.topics == ["orders"]

        @pytest.mark.nsq(topics="orders:billing")
        def test_channel(nsq):
            assert nsq.node.topic("orders").channels == ["billing"]
        """,
    )

    result.assert_outcomes(passed=2)


def test_cluster_refuses_what_it_does_not_take(project: pytest.Pytester) -> None:
    """With the fixture that gives it."""
    result = run(project, "def test_clock(nsq_cluster):\n    nsq_cluster(nodes=1, clock=3)\n")

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*nsq_cluster does not take clock: *; ask for the fixture nsq_clock.*"])

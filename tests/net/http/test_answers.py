"""Tests of the answers' form."""

from nsqlite.errors import NsqliteError
from nsqlite.net.http import answers
from nsqlite.net.http.answers import HttpError


def test_text_and_json_are_typed() -> None:
    """Both go out as they are, with nsqd's two headers."""
    text, json = answers.text(b"OK"), answers.json(b"{}")

    assert (text.status, text.body, json.status, json.body) == (200, b"OK", 200, b"{}")
    assert text.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert json.headers["Content-Type"] == "application/json; charset=utf-8"
    assert text.headers["X-NSQ-Content-Type"] == json.headers["X-NSQ-Content-Type"] == "nsq; version=1.0"


def test_empty_has_nothing_to_say() -> None:
    """Neither a body nor a type, but nsqd's header."""
    answer = answers.empty()

    assert (answer.status, answer.body) == (200, None)
    assert answer.headers["X-NSQ-Content-Type"] == "nsq; version=1.0"
    assert "Content-Type" not in answer.headers


def test_error_is_told_as_json() -> None:
    """Status, NSQ's word in a message, and whatever headers it brings."""
    answer = answers.refusal(HttpError(405, "METHOD_NOT_ALLOWED", {"Allow": "GET"}))

    assert (answer.status, answer.body) == (405, b'{"message":"METHOD_NOT_ALLOWED"}')
    assert (answer.headers["Allow"], answer.headers["Content-Type"]) == ("GET", "application/json; charset=utf-8")


def test_error_is_one_of_ours() -> None:
    """Its sentence is status and word; two of them share no headers."""
    error = HttpError(404, "NOT_FOUND")

    assert isinstance(error, NsqliteError)
    assert str(error) == "404 NOT_FOUND"
    assert error.headers == {}
    assert error.headers is not HttpError(404, "NOT_FOUND").headers


def test_answers_share_no_headers() -> None:
    """What is added to one answer is not in the next."""
    answers.text(b"").headers["X"] = "y"

    assert "X" not in answers.text(b"").headers

"""Free text without its personal parts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avatar_telemetry.http.scrub import (
    MAX_MESSAGE_LENGTH,
    MAX_READ_LENGTH,
    MAX_WORDS,
    REDACTED,
    Sent,
    emails,
    message,
    words_of,
)

# With lone surrogates, which no bytes decode to and nothing can encode.
ANY_TEXT = st.text(st.characters() | st.sampled_from("\ud800\udfff\xe9"))

DIGEST = "0123456789abcdef" * 2


@pytest.mark.parametrize(
    ("text", "scrubbed"),
    [
        pytest.param("division by zero", "division by zero", id="plain"),
        pytest.param("can't open it, won't try", "can't open it, won't try", id="apostrophes"),
        pytest.param("no photo of me@example.org", "no photo of REDACTED", id="e-mail"),
        pytest.param("no photo of me%40example.org", "no photo of REDACTED", id="encoded-e-mail"),
        pytest.param(f"no {DIGEST}.png", "no REDACTED.png", id="digest"),
        pytest.param("column 'alice' and \"bob\"", "column REDACTED and REDACTED", id="quoted"),
        pytest.param(r"got b'a\'b' here", "got REDACTED here", id="escaped-quote"),
        pytest.param("got 'alice and more", "got REDACTED", id="quote-left-open"),
        pytest.param("got 'alice\\", "got REDACTED", id="open-quote-and-backslash"),
        pytest.param(
            "GET https://u:pw@cdn.example:8443/x?y=1#z failed",
            "GET https://cdn.example:8443/REDACTED failed", id="url",
        ),
        pytest.param("at http://cdn.example/ now", "at http://cdn.example now", id="url-root"),
        pytest.param("at http://[::1 now", "at REDACTED now", id="broken-url"),
        pytest.param("user 12345, port 8000", "user REDACTED, port 8000", id="digits"),
        pytest.param("password=hunter2; x", "password=REDACTED; x", id="given-word"),
        pytest.param("csrf token: abc", "csrf token:REDACTED", id="given-word-colon"),
        pytest.param(
            "Key (username)=(bob) already exists", "Key (username)REDACTED already exists",
            id="postgresql-detail",
        ),
        pytest.param("failed [SQL: SELECT 1]\n[parameters: (1,)]", "failed REDACTED", id="sql"),
        pytest.param("of /accounts/profile/bob!", "of REDACTED", id="path"),
        pytest.param("Not Found: /anna", "Not Found: REDACTED", id="short path"),
        pytest.param("at /accounts/profile/anna.smith", "at REDACTED", id="path with a dot"),
        pytest.param("accounts/profile/anna.smith left", "REDACTED left", id="relative path"),
        pytest.param("profile/anna.smith left", "REDACTED left", id="short relative path"),
        pytest.param("an image/png and/or text", "an image/png and/or text", id="no path"),
        pytest.param("with '('anna',)' not found", "with REDACTED not found", id="in quotes"),
        pytest.param("'a' b 'c'd' e", "REDACTED e", id="quotes that are no pairs"),
        pytest.param("'a' b 'c d", "REDACTED", id="a pair and an open quote"),
        pytest.param("a" * 100 + "@x.test left", "REDACTED left", id="long local part"),
    ],
)  # fmt: skip
def test_message(text: str, scrubbed: str) -> None:
    """Plain words stay, what may be personal does not."""
    assert message(text) == scrubbed


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("x" * (MAX_READ_LENGTH - 5) + "deadbeefdeadbeef", id="one-word"),
        pytest.param(" " * (MAX_READ_LENGTH - 5) + "deadbeefdeadbeef", id="cut-through-a-token"),
        pytest.param(("x" * 199 + " ") * 20 + "deadbeefdeadbeef", id="whole-words-only"),
        pytest.param(("x" * 199 + " ") * 19 + "y" * 190 + " deadbeefdeadbeef", id="short-rest"),
        pytest.param("a " * MAX_READ_LENGTH, id="many-words"),
    ],
)
def test_long_messages(text: str) -> None:
    """A message is bounded, and the end of what is read shows no part of a token."""
    assert len(message(text)) <= MAX_MESSAGE_LENGTH
    assert "dead" not in message(text)


@pytest.mark.parametrize(
    "word", ["a", "a@", "'", '"\\', "key", "key ", "=", "= (", "://", "http://a@", "%40", "[SQL:",
             "\\", "b'", "1", "/", "-"],
)  # fmt: skip
def test_hostile_repetition_ends(word: str) -> None:
    """No repetition of what a pattern could stumble on takes more than a moment."""
    assert len(message(word * MAX_READ_LENGTH)) <= MAX_MESSAGE_LENGTH


@pytest.mark.parametrize("number", [1, MAX_WORDS])
@pytest.mark.parametrize(
    ("word", "run"),
    [
        ("anna", "Joanna7"),
        ("anna", "x" * 12 + "ANNA"),
        ("straße", "STRASSE"),
        ("kad\u0131n", "KADIN"),
        ("İnci", "inci"),
        ("σοφός", "ΣΟΦΌΣ"),
    ],
)
def test_a_word_of_the_request_is_found_in_any_case(word: str, run: str, number: int) -> None:
    """Inside a longer run, too, and whether the request has few words or many."""
    others = (f"q{chr(0x3B1 + each % 16)}{chr(0x3B1 + each // 16)}" for each in range(number - 1))
    sent = Sent("/", "/", frozenset((word, *others)), has_form=False)
    assert message(f"no {run} of joan", sent) == "no REDACTED of joan"


def test_text_without_an_address_is_itself() -> None:
    """Only addresses are taken out of what a program says of itself."""
    assert emails("bot/1.0 (+http://bot.example/info)") == "bot/1.0 (+http://bot.example/info)"
    assert emails("bot/1.0 (me@bot.example)") == f"bot/1.0 ({REDACTED})"


@given(ANY_TEXT, ANY_TEXT)
def test_secrets_do_not_pass(before: str, after: str) -> None:
    """Whatever stands around them, an address and a digest never pass, and the text is UTF-8."""
    scrubbed = message(f"{before} secret.name@example.org {DIGEST} {after}")
    assert "secret.name" not in scrubbed
    assert DIGEST not in scrubbed
    assert len(scrubbed.encode()) <= 4 * MAX_MESSAGE_LENGTH


def test_words_of_a_text_that_is_percent_encoded() -> None:
    """An application decodes what a client has encoded, so that both forms may be in a message."""
    assert {"änna", "Änna", "smith"} <= words_of("q=%C3%84nna+smith")

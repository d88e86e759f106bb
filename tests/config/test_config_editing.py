"""Changing keys in a file's text: everything else stays as it is."""

from __future__ import annotations

import json
import tomllib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from teamscall.config.editing import Change, edited, sources_in, value_from
from teamscall.config.options import iter_options, options

TEXT = """\
# of the house
# and its line

# about serve
[serve]  # the listener
port = 1  # the port
# a note on serve

# about the bridge
[bridge]
secret = "x"

[outbound]
ringTimeoutMs = 1
allow_to = [
    "a",  # anna
    "b",  # bert
]
"""


def one(path: str, value: object, text: str = TEXT) -> list[str]:
    """The lines of the result."""
    return edited(text, [Change(path, value)]).splitlines()


def test_a_value_changes_and_nothing_else() -> None:
    before, after = TEXT.splitlines(), one("serve.port", 5)
    assert [line for line in after if line not in before] == ["port = 5  # the port"]
    assert len(after) == len(before)


def test_a_key_is_found_by_its_other_spelling() -> None:
    assert "ringTimeoutMs = 5" in one("outbound.ring_timeout_ms", 5)
    assert "[bargeIn]\nenabled = false" in edited(
        "[bargeIn]\nenabled = true\n", [Change("barge_in.enabled", False)]
    )


def test_a_new_key_goes_to_the_end_of_its_table_before_the_next_ones_comment() -> None:
    after = one("serve.bind", "::1")
    place = after.index("# a note on serve")
    assert after[place + 1 : place + 5] == ['bind = "::1"', "", "# about the bridge", "[bridge]"]
    assert [line for line in after if line != 'bind = "::1"'] == TEXT.splitlines()


def test_a_key_of_no_table_goes_over_the_first_tables_comment() -> None:
    after = one("engine", "echo")
    assert after[:6] == ["# of the house", "# and its line", "", 'engine = "echo"', "",
                         "# about serve"]  # fmt: skip


def test_a_new_table_goes_to_the_end() -> None:
    assert one("standin.enabled", True) == [*TEXT.splitlines(), "", "[standin]", "enabled = true"]


def test_a_lists_comments_stay_with_what_stays() -> None:
    after = one("outbound.allow_to", ["b", "c"])
    assert '    "b",  # bert' in after
    assert '    "c",' in after
    assert '    "a",  # anna' not in after


@pytest.mark.parametrize(
    ("text", "path", "value", "wanted"),
    [
        ("", "serve.port", 1, "[serve]\nport = 1\n"),
        ("", "engine", "echo", 'engine = "echo"\n'),
        ("# a note\n", "engine", "echo", '# a note\nengine = "echo"\n'),
        ("# a note", "engine", "echo", '# a note\nengine = "echo"\n'),
        ("[serve]\n[bridge]\n", "serve.port", 1, "[serve]\nport = 1\n[bridge]\n"),
        ("serve.port = 1\n", "serve.bind", "x", 'serve.port = 1\nserve.bind = "x"\n'),
        ('serve = { port = 1 } # c\n', "serve.port", 2, "serve = { port = 2 } # c\n"),
        ("#:schema ./a.json\n[serve]\n", "mode", "live",
         '#:schema ./a.json\nmode = "live"\n\n[serve]\n'),
        ('[[tools]]\nname = "a"\n', "serve.port", 1,
         '[[tools]]\nname = "a"\n\n[serve]\nport = 1\n'),
    ],
)  # fmt: skip
def test_every_way_to_write_a_file(text: str, path: str, value: object, wanted: str) -> None:
    assert edited(text, [Change(path, value)]) == wanted


def test_line_ends_and_a_bom_stay() -> None:
    text = "\ufeff[serve]\r\nport = 1\r\n"
    assert edited(text, [Change("serve.bind", "x"), Change("engine", "echo")]) == (
        '\ufeffengine = "echo"\r\n\r\n[serve]\r\nport = 1\r\nbind = "x"\r\n'
    )


def test_taking_out_leaves_the_rest() -> None:
    after = one("outbound.ring_timeout_ms", None)
    assert after == [line for line in TEXT.splitlines() if line != "ringTimeoutMs = 1"]
    assert edited(TEXT, [Change("idle.goodbye", None)]) == TEXT


@settings(max_examples=60)
@given(st.data())
def test_whatever_is_set_is_what_is_read(data: st.DataObject) -> None:
    paths = st.sampled_from(["engine", "serve.port", "bridge.secret", "idle.goodbye", "serve.bind",
                             "outbound.ring_timeout_ms", "outbound.allow_to"])  # fmt: skip
    text = st.text(st.characters(blacklist_categories=["Cs"]), max_size=20)
    values = st.one_of(text, st.integers(0, 9), st.booleans(), st.lists(text, max_size=5))
    text_now, now = TEXT, tomllib.loads(TEXT)
    for _ in range(data.draw(st.integers(1, 3))):
        path, value = data.draw(paths), data.draw(values)
        text_now = edited(text_now, [Change(path, value)])
        table, _, leaf = path.rpartition(".")
        spelt = "ringTimeoutMs" if leaf == "ring_timeout_ms" else leaf
        (now.setdefault(table, {}) if table else now)[spelt] = value
        assert tomllib.loads(text_now) == now
    assert "# about the bridge\n[bridge]" in text_now


@pytest.mark.parametrize(
    ("path", "word", "value"),
    [
        ("serve.port", "3335", 3335),
        ("serve.port", "3_335", 3335),
        ("serve.enabled", "true", True),
        ("serve.enabled", "0", False),
        ("tts.speed", "2", 2),
        ("inbound.greeting", "Hello, you", "Hello, you"),
        ("inbound.greeting", '"Hello"', "Hello"),
        ("inbound.greeting", "5", "5"),
        ("inbound.greeting", "true", "true"),
        ("recording.require", "auto", "auto"),
        ("recording.require", "false", False),
        ("authorization.allow_from", "a@b, c@d", ["a@b", "c@d"]),
        ("authorization.allow_from", '["a@b"]', ["a@b"]),
        ("bridge.secret", '"quoted"', '"quoted"'),
        ("journal.path", "~/j.sqlite3", "~/j.sqlite3"),
        ("journal.path", "/var/j.sqlite3", "/var/j.sqlite3"),
    ],
)
def test_a_word_is_read_by_its_keys_type(path: str, word: str, value: object) -> None:
    read = value_from(options()[path], word)
    assert (read, type(read)) == (value, type(value))


def test_a_relative_path_is_meant_from_where_the_command_is_run(
    tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(str(tmp_path))
    assert value_from(options()["journal.path"], "j.sqlite3") == f"{tmp_path}/j.sqlite3"


def test_the_other_sources_of_a_secret_are_found_in_either_spelling() -> None:
    assert sources_in('[bridge]\nsecretFile = "x"\n', "bridge.secret") == ("bridge.secret_file",)
    assert sources_in('[bridge]\nsecret = "x"\n', "bridge.secret_env") == ("bridge.secret",)
    assert sources_in(TEXT, "serve.port") == ()


def test_every_key_can_be_set_in_an_empty_file() -> None:
    for option in iter_options():
        made = tomllib.loads(edited("", [Change(option.path, "x")]))
        table, _, leaf = option.path.rpartition(".")
        assert (made[table] if table else made) == {leaf: "x"}


def test_a_list_may_be_json_and_a_number_is_one() -> None:
    callers = options()["authorization.allow_from"]
    assert value_from(callers, json.dumps(["\U0001f600", "\x7f"])) == ["\U0001f600", "\x7f"]
    with pytest.raises(ValueError, match="not an array"):
        value_from(callers, '["a"')
    with pytest.raises(ValueError, match="not a number"):
        value_from(options()["tts.speed"], "nan")

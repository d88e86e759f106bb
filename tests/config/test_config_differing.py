"""Which keys of two configurations differ."""

from __future__ import annotations

import os
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from teamscall.config import (
    Config,
    Price,
    Scripted,
    Secret,
    Serve,
    Tool,
    differing,
    iter_options,
    stamps,
    with_values_of,
)
from teamscall.config.tree import Bridge

OTHER = Config(
    engine="echo",
    serve=Serve(port=4000, bind="::1"),
    bridge=Bridge(secret=Secret("new")),
    tools=(Tool("a", "does a"),),
    prices={"m": Price(input=1.0)},
)
ALL = ("engine", "serve.port", "serve.bind", "bridge.secret", "tools", "prices")


def test_every_difference_is_named_by_its_key() -> None:
    assert differing(Config(), OTHER) == ALL
    assert differing(OTHER, OTHER) == ()
    assert differing(Config(), Config()) == ()


@given(st.sets(st.sampled_from(ALL)))
def test_what_is_kept_differs_no_more(kept: set[str]) -> None:
    merged = with_values_of(OTHER, Config(), kept)
    assert set(differing(OTHER, merged)) == kept
    assert set(differing(Config(), merged)) == set(ALL) - kept


def test_every_key_can_be_kept() -> None:
    paths = [option.path for option in iter_options()]
    assert with_values_of(Config(), OTHER, [*paths, "tools", "prices"]) == OTHER


def test_a_file_with_other_contents_has_another_stamp(tmp_path: Path) -> None:
    script = tmp_path / "script.toml"
    config = Config(scripted=Scripted(path=str(script)))
    paths = ("scripted.path", "filler.sound")
    seen = [stamps(config, paths)]
    script.write_text("repeat = true")
    seen.append(stamps(config, paths))
    os.utime(script, ns=(1, 1))
    seen.append(stamps(config, paths))
    other = tmp_path / "other.toml"
    other.write_text("repeat = true")
    os.utime(other, ns=(1, 1))
    other.replace(script)
    seen.append(stamps(config, paths))
    assert seen[0] == {"scripted.path": None}
    assert len({str(one) for one in seen}) == 4

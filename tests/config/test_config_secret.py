"""A secret shows itself to nobody."""

from __future__ import annotations

import copy
import logging
import pickle

import msgspec
import pytest

from teamscall.config import Bridge, Config, Secret, encode_hook

VALUE = "hunter2-hunter2-hunter2-hunter2!"


def test_it_hides_from_every_way_of_printing(caplog: pytest.LogCaptureFixture) -> None:
    secret = Secret(VALUE)
    config = Config(bridge=Bridge(secret=secret))
    with caplog.at_level(logging.INFO):
        logging.getLogger("x").info("secret %s %r", secret, config)
    shown = [repr(secret), str(secret), f"{secret}", f"{secret!r:>40}", f"{secret:>40}"]
    shown += ["%s" % (secret,), repr(config), str([secret]), caplog.text]  # noqa: UP031
    assert not any(VALUE in text for text in shown)
    assert secret.reveal() == VALUE


def test_it_is_encoded_masked_or_not_at_all() -> None:
    config = Config(bridge=Bridge(secret=Secret(VALUE)))
    for encode in (msgspec.json.encode, msgspec.msgpack.encode):
        assert VALUE.encode() not in encode(config, enc_hook=encode_hook)
    with pytest.raises(TypeError):
        msgspec.json.encode(config)
    with pytest.raises(NotImplementedError):
        encode_hook(object())
    with pytest.raises(TypeError):
        pickle.dumps(config)
    assert not hasattr(Secret(VALUE), "__dict__")


def test_it_compares_by_value_and_is_false_when_empty() -> None:
    assert Secret(VALUE) == Secret(VALUE)
    assert Secret(VALUE) != Secret("other")
    assert Secret("sécret\udcff") == Secret("sécret\udcff")
    assert (Secret(VALUE) == VALUE) is False
    assert len({Secret(VALUE), Secret(VALUE)}) == 1
    assert bool(Secret(VALUE))
    assert not Secret()
    assert str(Secret()) == ""
    assert copy.deepcopy(Secret(VALUE)) == copy.copy(Secret(VALUE))

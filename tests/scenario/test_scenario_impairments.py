"""A bad network: the same one for the same seed."""

from __future__ import annotations

import asyncio
import itertools
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from teamscall.clock import SystemClock
from teamscall.emulator.impaired_link import Weather
from teamscall.emulator.impairments import Channel, Hit, Impairment, Impairments, fate
from teamscall.emulator.links import Take
from teamscall.wire.events import AudioIn, AudioOut, CallEnded, Flush, FromGateway, ToGateway

MANY = 1000


def sent(
    spec: Impairment, seed: int = 7, frames: int = MANY
) -> tuple[list[tuple[int, float]], Hit]:
    """Frames at 20 ms, taken every 5 ms: which left, and when."""
    channel: Channel[int] = Channel(spec, seed, "in")
    out: list[tuple[int, float]] = []
    for number in range(frames):
        channel.put(number, number * 0.02)
        for quarter in range(4):
            now = number * 0.02 + quarter * 0.005
            out += [(item, now) for item in channel.due(now)]
    out += [(item, 1e9) for item in channel.due(1e9)]
    return out, channel.hit()


def test_nothing_happens_on_a_good_way() -> None:
    out, hit = sent(Impairment())
    assert [number for number, _ in out] == list(range(MANY))
    assert hit == Hit(MANY)


def test_the_same_seed_hits_the_same_frames() -> None:
    spec = Impairment(loss=0.05, jitter_s=0.1, reorder=0.02, duplicate=0.02)
    assert sent(spec) == sent(spec)
    assert sent(spec)[0] != sent(spec, seed=8)[0]


def test_one_kind_does_not_move_another() -> None:
    lossy = {n for n in range(MANY) if not fate(Impairment(loss=0.1), 7, "in", n).copies}
    both = Impairment(loss=0.1, jitter_s=0.2, reorder=0.5, duplicate=0.5)
    assert {n for n in range(MANY) if not fate(both, 7, "in", n).copies} == lossy
    assert {n for n in range(MANY) if not fate(both, 7, "out", n).copies} != lossy


def test_losses_and_copies_are_as_many_as_asked_for_and_counted() -> None:
    out, hit = sent(Impairment(loss=0.1, duplicate=0.2))
    assert 0.07 * MANY < hit.lost < 0.13 * MANY
    assert 0.14 * MANY < hit.duplicated < 0.22 * MANY
    assert len(out) == MANY - hit.lost + hit.duplicated


def test_jitter_and_bursts_keep_the_order() -> None:
    for spec in (Impairment(jitter_s=0.2), Impairment(burst_s=0.5, burst_every_s=2.0)):
        out, hit = sent(spec)
        assert [number for number, _ in out] == list(range(MANY))
        assert hit.late > 0


def test_a_burst_holds_everything_back_and_lets_it_go_at_once() -> None:
    out, _ = sent(Impairment(burst_s=0.5, burst_every_s=2.0), frames=200)
    held = [at for number, at in out if 76 <= number < 100]  # 1.52 s to 2 s
    assert all(2.0 <= at < 2.01 for at in held)


def test_reordered_frames_come_right_behind_their_successor() -> None:
    out, hit = sent(Impairment(reorder=0.1))
    order = [number for number, _ in out]
    assert sorted(order) == sorted(set(order))
    assert 0 < hit.reordered < 0.15 * MANY
    assert sum(b < a for a, b in itertools.pairwise(order)) <= hit.reordered
    assert order != sorted(order)


@settings(max_examples=40)
@given(
    st.builds(
        Impairment,
        loss=st.floats(0, 1),
        jitter_s=st.floats(0, 5),
        reorder=st.floats(0, 1),
        duplicate=st.floats(0, 1),
        burst_s=st.floats(0, 3),
        burst_every_s=st.floats(3, 9),
    ),
    st.integers(0, 99),
)
def test_every_frame_is_sent_lost_or_held_and_never_invented(spec: Impairment, seed: int) -> None:
    out, hit = sent(spec, seed, 60)
    left = hit.frames - hit.lost + hit.duplicated
    assert hit.frames == 60
    assert len(out) <= left
    assert {number for number, _ in out} <= set(range(60))


class Wire:
    """A link that keeps what is sent, and gives what it has."""

    def __init__(self, messages: list[ToGateway]) -> None:
        self.sent: list[FromGateway] = []
        self.close_code: int | None = None
        self.close_reason = ""
        self._messages = messages

    async def listen(self, take: Take) -> None:
        for message in self._messages:
            await take(message)
        await asyncio.sleep(0.1)

    async def send(self, event: FromGateway) -> None:
        self.sent.append(event)

    def abort(self) -> None: ...
    async def close(self) -> None: ...


async def carried(what: Impairments, messages: list[ToGateway]) -> tuple[Wire, list[Any], Weather]:
    wire = Wire(messages)
    weather = Weather(what, SystemClock())
    link = weather.wrap(wire)
    taken: list[Any] = []

    async def take(message: Any) -> None:
        taken.append(message)

    for number in range(100):
        await link.send(AudioIn("c", number, b""))
    await link.send(CallEnded("c", "x"))
    await link.listen(take)
    return wire, taken, weather


def test_a_link_loses_audio_and_nothing_else() -> None:
    spec = Impairment(loss=0.3)
    frames: list[ToGateway] = [AudioOut("c", number, b"") for number in range(100)]
    wire, taken, weather = asyncio.run(
        carried(Impairments(spec, spec, seed=3), [*frames, Flush("c", 1, 0)])
    )
    kept = [n for n in range(100) if fate(spec, 3, "in", n).copies]
    assert [e.seq for e in wire.sent if isinstance(e, AudioIn)] == kept
    assert CallEnded("c", "x") in wire.sent
    assert Flush("c", 1, 0) in taken
    toll = weather.toll()
    assert toll is not None
    assert toll.to_bridge == Hit(100, 100 - len(kept))


def test_a_flush_takes_what_is_still_on_its_way() -> None:
    slow = Impairments(from_bridge=Impairment(jitter_s=5.0))
    messages: list[ToGateway] = [AudioOut("c", number, b"") for number in range(50)]
    _, taken, _ = asyncio.run(carried(slow, [*messages, Flush("c", 1, 0)]))
    assert taken[-1] == Flush("c", 1, 0)


def test_without_impairments_there_is_nothing_between() -> None:
    wire = Wire([])
    weather = Weather(Impairments(skew_ppm=50), SystemClock())
    assert weather.wrap(wire) is wire
    assert weather.toll() is None


@pytest.mark.parametrize("ppm", [-500, 500])
def test_a_skewed_clock_sends_more_or_fewer_frames(ppm: int) -> None:
    from teamscall.emulator.controls import Controls
    from teamscall.emulator.far_side import FarSide
    from teamscall.emulator.plan import Dial, Plan
    from teamscall.emulator.sources import Silence

    side = FarSide(
        Plan(Dial("x", b"s"), skew_ppm=ppm * 100), "c", "u", Silence(), Controls(),
        began=0.0, handshake_ms=0.0, on_event=lambda _: None,
    )  # fmt: skip
    side.begin(0.0)
    count, now = 0, 0.0
    shaken = random.Random(1)
    while now < 20:
        now += shaken.uniform(0.001, 0.03)
        count += sum(isinstance(e, AudioIn) for e in side.tick(now, 0))
    assert abs(count - 1000 * (1 + ppm / 10_000)) <= 3

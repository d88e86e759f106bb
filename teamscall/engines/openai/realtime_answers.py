"""The answers of one realtime session: asked for, spoken, cut, and asked for again.

Owns the turns from the call's order to their ``AnswerDone``, which response of the
service is whose, and the use of tools. Refuses to know sockets (it is told when a session
is there or lost) and the caller's audio.

Rule 1: answers are spoken one after the other, in the order they were asked for. Only
when nothing is being spoken or stopped is one asked for: at once, inside ``ask``.
Rule 2: what comes of a response that is not the current one's is dropped, by its id.
Rule 3: a response without audio is asked for once more, after partial audio never (E5).
Rule 4: a tool that was begun is not begun again because the session was lost.
"""

from __future__ import annotations

import base64
import binascii
import time
from collections import deque
from collections.abc import Callable

from teamscall.engines.base import (
    AnswerAudio,
    AnswerDone,
    AnswerStatus,
    AnswerText,
    CallBrief,
    EngineDegraded,
    EngineFailed,
    Phrase,
    PressDigit,
    Respond,
    Say,
)
from teamscall.engines.clauses import is_speakable
from teamscall.engines.openai import messages
from teamscall.engines.openai.messages import ServerEvent
from teamscall.engines.openai.reading import strays
from teamscall.engines.openai.realtime_dialogue import Dialogue
from teamscall.engines.openai.realtime_hearing import Hearing
from teamscall.engines.openai.realtime_line import Line
from teamscall.engines.openai.realtime_tools import Toolbelt, Uses
from teamscall.engines.openai.realtime_turn import FAR_FUTURE, Answer
from teamscall.engines.openai.realtime_waits import Waits
from teamscall.engines.openai.usage import usage_event
from teamscall.engines.tools import Tools

MAX_WAITING = 16  # a call asks for one or two at a time; more is a fault
MAX_ASKS = 2  # of one response
MAX_TOOL_ROUNDS = 5  # of one turn; then the model must answer with what it has
PHRASE_CHUNK_MS = 200
BUSY_S = 0.25  # before another try when the service says that it is still answering

_BUSY = "conversation_already_has_active_response"
_PASSING = ("server_error", "rate_limit")  # prefixes of codes that another try may mend


class Answers:
    """See the module. ``speed``: of the voice."""

    def __init__(
        self,
        call: CallBrief,
        line: Line,
        hearing: Hearing,
        dialogue: Dialogue,
        *,
        model: str,
        speed: float,
        tools: Tools,
        phrase: Callable[[str], Phrase | None],
        waits: Waits,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._line = line
        self._hearing = hearing
        self._dialogue = dialogue
        self._model = model
        self._speed = speed
        self._belt = Toolbelt(call, tools, line.spawn)
        self._phrase = phrase
        self._backed = call.backed
        self._waits = waits
        self._now = now
        self._waiting: deque[Answer] = deque()
        self._current: Answer | None = None
        # Cancelled and not known to be over, until when that is waited for: by the name they
        # were asked for under, or by their id once it is known; and whose audio came.
        self._unborn: dict[str, float] = {}
        self._stopping: dict[str, tuple[float, set[str]]] = {}
        self._serial = 0
        self.stale = 0  # deltas of responses that were over for us

    @property
    def idle(self) -> bool:
        return not (self._current or self._waiting or self._stopping or self._unborn)

    # --- the call's side -------------------------------------------------------------------

    def ask(self, command: Respond | PressDigit | Say) -> None:
        current = [self._current] if self._current is not None else []
        if any(answer.turn == command.turn for answer in (*current, *self._waiting)):
            return  # a turn is answered once
        if len(self._waiting) >= MAX_WAITING:
            error = "too many answers are waiting"
            self._line.post(AnswerDone(command.turn, "failed", error=error))
            return
        self._waiting.append(Answer(command, self._speed))
        self._next()

    def cancel(self, turn: int, *, forget: bool) -> None:
        answer = self._current
        if answer is not None and answer.turn == turn:
            self._current = None
            self._stop(answer)
            self._line.unpost(turn)
            self._line.post(AnswerDone(turn, "cancelled"))
        elif waiting := next((a for a in self._waiting if a.turn == turn), None):
            self._waiting.remove(waiting)
            self._line.post(AnswerDone(turn, "cancelled"))
        elif self._line.unpost(turn):
            self._line.post(AnswerDone(turn, "cancelled"))
        if forget:
            self._send(self._dialogue.forget(turn))
        self._next()

    def _stop(self, answer: Answer) -> None:
        if answer.uses is not None:
            answer.uses.cancel()
            for call_id, result in answer.uses.results.items():
                self._send(self._dialogue.returned(call_id, result.output))
        if answer.done or not answer.name:
            return
        until = self._now() + self._waits.stopped
        if answer.response:
            self._line.send(messages.cancel(answer.response))
            self._stopping[answer.response] = (until, answer.items)
        else:
            self._unborn[answer.name] = until

    # --- asking ----------------------------------------------------------------------------

    def _next(self) -> None:
        while self._waiting and self._line.ready:
            if self._current is not None or self._stopping or self._unborn:
                return
            self._begin(self._waiting.popleft())

    def _begin(self, answer: Answer) -> None:
        match answer.command:
            case PressDigit(turn=turn, digit=digit):
                self._send(self._dialogue.asked(turn, f"(pressed {digit})"))
                self._line.post(AnswerDone(turn))
            case Say(turn=turn, text=text):
                phrase = self._phrase(text)
                if phrase is None and is_speakable(text):
                    self._current = answer
                    self._ask(answer)
                    return
                self._line.post(AnswerText(turn, text))
                if phrase is not None:
                    self._play(turn, phrase, text)
                self._line.post(AnswerDone(turn))
            case Respond(turn=turn, text=text, utterance=utterance):
                if text:
                    self._send(self._dialogue.asked(turn, text))
                elif self._hearing.silent(utterance):
                    self._line.post(AnswerDone(turn))
                    return
                self._current = answer
                self._ask(answer)

    def _play(self, turn: int, phrase: Phrase, text: str) -> None:
        self._send(self._dialogue.read(turn, text))
        size = phrase.rate * PHRASE_CHUNK_MS // 1000 * 2
        for start in range(0, len(phrase.pcm), size):
            pcm = phrase.pcm[start : start + size]
            self._line.post(AnswerAudio(turn, pcm, phrase.rate, "" if start else text))

    def _ask(self, answer: Answer) -> None:
        self._serial += 1
        answer.fresh(f"answer-{self._serial}")
        answer.asks += 1
        answer.deadline = self._now() + self._waits.created
        if answer.reading:
            asked = messages.read_aloud(answer.reading.strip(), "", event_id=answer.name)
        else:
            use_tools = answer.rounds < MAX_TOOL_ROUNDS
            asked = messages.respond(answer.name, use_tools=use_tools)
        if not self._line.send(asked):
            self._unask(answer)

    def _unask(self, answer: Answer) -> None:
        """There is no session: ``reopened`` asks."""
        answer.fresh("")
        answer.deadline = FAR_FUTURE

    def _again(self, answer: Answer, why: str) -> None:
        """Nothing came of it: ask once more, then give up."""
        answer.error = why
        if answer.asks >= MAX_ASKS:
            self._finish(answer, "failed", why)
        else:
            self._line.tell(EngineDegraded("session", f"an answer was asked for again ({why})"))
            self._ask(answer)

    # --- what comes back -------------------------------------------------------------------

    def received(self, event: ServerEvent) -> None:
        match event.type:
            case "response.output_audio.delta":
                self._audio(event)
            case "response.output_audio_transcript.delta":
                self._transcript(event)
            case "response.created":
                self._created(event)
            case "response.output_item.done":
                if (answer := self._of(event)) is not None:
                    self._use_tools(answer, event)
            case "response.done":
                self._response_done(event)

    def _of(self, event: ServerEvent) -> Answer | None:
        answer = self._current
        if answer is None or not answer.response or answer.response != event.response_id:
            return None
        return answer

    def _audio(self, event: ServerEvent) -> None:
        answer = self._of(event)
        if answer is None:
            self.stale += 1
            return
        try:
            pcm = base64.b64decode(event.delta or "", validate=True)
        except (binascii.Error, ValueError):
            self._line.restart("audio that cannot be read")
            return
        if not pcm:
            return
        ms = len(pcm) * 1000 / messages.BYTES_PER_S
        text = "" if answer.reading else answer.words.for_audio(ms / 1000)
        begins = not answer.begun
        if begins:
            answer.begun = answer.spoke = True
            text = answer.reading or text
            # Held back until now: what is asked for again must not have said a word.
            if known := answer.reading or answer.words.text:
                self._line.tell(AnswerText(answer.turn, known))
        if self._current is not answer:
            return  # cancelled by whoever was told of its text
        self._line.tell(AnswerAudio(answer.turn, pcm, messages.RATE, text))
        answer.deadline = self._now() + self._waits.next_audio
        if begins:
            self._line.wake.set()  # that is sooner than its first sound was due
            self._hearing.answering()
        if answer.reading:
            if begins:
                self._send(self._dialogue.read(answer.turn, answer.reading))
        elif item := event.item_id:
            answer.items.add(item)
            known = answer.words.text if begins else ""
            self._dialogue.spoke(answer.turn, item, ms=ms, text=known)

    def _transcript(self, event: ServerEvent) -> None:
        answer = self._of(event)
        if answer is None or not event.delta:
            return
        answer.words.known(event.delta)
        answer.deadline = self._now() + self._waits.next_audio
        if answer.reading:
            self._look_ahead(answer)
            return
        if answer.begun:
            if event.item_id:
                self._dialogue.spoke(answer.turn, event.item_id, text=event.delta)
            self._line.tell(AnswerText(answer.turn, event.delta))

    def _look_ahead(self, answer: Answer) -> None:
        """Words of its own, seen before anything was heard: have it begin again."""
        if answer.begun or answer.asks >= MAX_ASKS:
            return
        if strays(answer.reading, answer.words.text):
            self._stop(answer)
            self._ask(answer)

    def _created(self, event: ServerEvent) -> None:
        if event.response is None:
            return
        answer, response = self._current, event.response.id
        name = (event.response.metadata or {}).get("clause", "")
        if not name and self._unborn:
            name = next(iter(self._unborn))  # servers that give no metadata back go in order
        if name in self._unborn:
            self._stopping[response] = (self._unborn.pop(name), set())
        elif answer is not None and not answer.response and name in ("", answer.name):
            answer.response, answer.busy_since = response, 0.0
            answer.deadline = self._now() + self._waits.first_audio
            return
        self._line.send(messages.cancel(response))  # nobody waits for it

    def _response_done(self, event: ServerEvent) -> None:
        response = event.response
        if response is None:
            return
        answer = self._current
        if answer is not None and answer.response == response.id:
            self._count(event, answer.turn)
            self._ended(answer, event, response)
            return
        self._count(event, 0)
        if (stopped := self._stopping.pop(response.id, None)) is not None:
            self._delete_messages(event, stopped[1])
        if answer is not None and answer.busy_since:
            self._retry_busy(answer)
        self._next()

    def _delete_messages(self, event: ServerEvent, spoken: set[str]) -> None:
        """What it had begun to say and nobody was given."""
        for item in messages.items(event):
            if item.type == "message" and item.id and item.id not in spoken:
                self._line.send(messages.delete(item.id))

    def _ended(self, answer: Answer, event: ServerEvent, response: messages.Response) -> None:
        answer.done = True
        answer.deadline = FAR_FUTURE
        self._use_tools(answer, event)
        details = response.status_details
        reason = details.reason if details is not None else None
        if not answer.begun:
            self._delete_messages(event, answer.items)
        match response.status:
            case "incomplete" if reason != "content_filter" and answer.begun:
                cut = EngineDegraded("session", "an answer was cut at its limit of tokens")
                self._line.tell(cut)
                self._finish(answer, "completed")
            case "completed" if answer.uses:
                self._used_tools(answer)
            case "completed" if answer.begun:
                self._finish(answer, "completed")
            case "completed":
                self._again(answer, "the service answered nothing")
            case _:
                code = details.error.name if details is not None and details.error else ""
                known = response.status in ("failed", "incomplete", "cancelled")
                what = code or (response.status if known else "unnamed")
                passing = response.status != "incomplete"
                self._failed(answer, f"the answer failed ({what})", passing=passing)

    def _failed(self, answer: Answer, why: str, *, passing: bool) -> None:
        if answer.begun or answer.uses or not passing:
            self._finish(answer, "failed", why)
        else:
            self._again(answer, why)

    def refused(self, trouble: messages.Trouble) -> None:
        """The service would not have something; perhaps what was asked for here."""
        name, answer = trouble.event_id or "", self._current
        if self._unborn.pop(name, None) is not None:
            self._next()
        elif answer is not None and name and name == answer.name and not answer.response:
            if trouble.name == _BUSY:
                answer.busy_since = answer.busy_since or self._now()
                answer.deadline = self._now() + BUSY_S
            else:
                passing = trouble.name.startswith(_PASSING)
                self._failed(answer, f"it was refused ({trouble.name})", passing=passing)

    def _retry_busy(self, answer: Answer) -> None:
        answer.asks -= 1
        self._ask(answer)

    def _finish(self, answer: Answer, status: AnswerStatus, error: str = "") -> None:
        self._current = None
        if answer.uses is not None:
            answer.uses.cancel()
        self._give_rest(answer)
        if answer.reading and status == "completed":
            said = answer.words.text
            if said and strays(answer.reading, said, complete=True):
                self._line.tell(EngineDegraded("speak", "the voice reworded a text"))
        if error:
            self._line.tell(EngineFailed("session", error))
        end_call = answer.end_call and status == "completed"
        self._line.tell(AnswerDone(answer.turn, status, end_call=end_call, error=error))
        self._next()

    def _give_rest(self, answer: Answer) -> None:
        """The last words begin with no further audio."""
        if answer.begun and not answer.reading and (text := answer.words.rest()):
            self._line.tell(AnswerAudio(answer.turn, b"", messages.RATE, text))

    # --- tools -----------------------------------------------------------------------------

    def _use_tools(self, answer: Answer, event: ServerEvent) -> None:
        for item in messages.items(event):
            if item.type != "function_call":
                continue
            if answer.uses is None:
                answer.uses = Uses(self._belt, lambda: self._used_tools(answer))
            if answer.uses.begin(item):
                self._dialogue.called(answer.turn, item)

    def _used_tools(self, answer: Answer) -> None:
        """When all results are there, and a session to tell them to: answer with them."""
        uses = answer.uses
        if answer is not self._current or uses is None or not (answer.done and uses.finished):
            return
        if not self._line.ready:
            return  # ``reopened`` comes back to it
        self._give_rest(answer)
        for call_id, result in uses.results.items():
            self._send(self._dialogue.returned(call_id, result.output))
            answer.end_call = answer.end_call or result.end_call
        if answer.end_call and answer.spoke:
            self._finish(answer, "completed")  # the goodbye came with the call
            return
        answer.rounds += 1
        answer.asks = 0
        self._ask(answer)

    # --- sessions --------------------------------------------------------------------------

    def lost(self, reason: str) -> None:
        """The session is over, with all that it was doing."""
        self._stopping.clear()
        self._unborn.clear()
        answer = self._current
        if answer is None:
            return
        answer.busy_since = 0.0
        if answer.uses:
            answer.done = True
            answer.deadline = FAR_FUTURE
        elif answer.begun:
            self._finish(answer, "failed", f"the session was lost ({reason})")
        elif answer.name:
            answer.error = f"the session was lost ({reason})"
            self._unask(answer)

    def reopened(self) -> None:
        """Another session is there and knows what was said."""
        answer = self._current
        if answer is not None and answer.uses:
            self._used_tools(answer)
        elif answer is not None and not answer.name:
            if answer.asks >= MAX_ASKS:
                self._finish(answer, "failed", answer.error)
            else:
                self._ask(answer)
        self._next()

    # --- time ------------------------------------------------------------------------------

    def deadline(self) -> float:
        """When ``tick`` is due; infinite when nothing is awaited."""
        current = self._current.deadline if self._current is not None else FAR_FUTURE
        stopping = (until for until, _ in self._stopping.values())
        return min(current, *self._unborn.values(), *stopping, FAR_FUTURE)

    def tick(self) -> None:
        now = self._now()
        self._unborn = {name: until for name, until in self._unborn.items() if until > now}
        self._stopping = {i: stop for i, stop in self._stopping.items() if stop[0] > now}
        answer = self._current
        if answer is not None and answer.deadline <= now:
            answer.deadline = FAR_FUTURE
            if answer.busy_since and now - answer.busy_since < self._waits.stopped:
                self._retry_busy(answer)
            else:
                if self._backed and not answer.begun:
                    answer.asks = MAX_ASKS  # the caller has waited: the other engine's turn
                self._line.restart("an answer made no progress")
        self._next()

    # --- inside ----------------------------------------------------------------------------

    def _send(self, many: list[str]) -> None:
        for message in many:
            self._line.send(message)

    def _count(self, event: ServerEvent, turn: int) -> None:
        if event.response is not None and (usage := messages.used(event.response.usage)):
            self._line.tell(usage_event("session", self._model, usage, turn))

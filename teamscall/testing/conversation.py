"""A realtime session's items, in order. Pure: the session sends what it returns."""

from __future__ import annotations

from teamscall.testing.strict import Wrong
from teamscall.testing.visits import Json


class Conversation:
    """Items by id, and what the model knows of them."""

    def __init__(self) -> None:
        self._items: dict[str, Json] = {}
        self._order: list[str] = []
        # What the model heard in audio. Not in the item: its transcript is another model's.
        self._heard: dict[str, str] = {}

    @property
    def last_id(self) -> str | None:
        return self._order[-1] if self._order else None

    def add(self, item: Json, after: str | None = None) -> str | None:
        """Insert ``item`` behind the item ``after`` (``root``: first; None: last).

        Returns:
            the id of the item before it.

        Raises:
            Wrong: no such item, or the id is taken.
        """
        if item["id"] in self._items:
            raise Wrong(
                f"Item with item_id '{item['id']}' already exists.",
                code="item_create_duplicate_item_id",
                param="item.id",
            )
        if after == "root":
            place = 0
        elif after is None:
            place = len(self._order)
        else:
            self.get(after, "previous_item_id")
            place = self._order.index(after) + 1
        self._order.insert(place, item["id"])
        self._items[item["id"]] = item
        return self._order[place - 1] if place else None

    def get(self, item_id: str, param: str = "item_id") -> Json:
        """The item; raises Wrong when there is none."""
        if item_id not in self._items:
            raise Wrong(
                f"Item with item_id '{item_id}' not found.", code="item_not_found", param=param
            )
        return self._items[item_id]

    def delete(self, item_id: str) -> None:
        """Forget an item; raises Wrong when there is none."""
        self.get(item_id)
        del self._items[item_id]
        self._order.remove(item_id)

    def hear(self, item_id: str, text: str) -> None:
        """The model understood the audio of this item so."""
        self._heard[item_id] = text

    def truncate(self, item_id: str, content_index: int, end_ms: int, audio_ms: float) -> None:
        """Cut an assistant's audio, which is ``audio_ms`` long, and forget its transcript.

        Raises:
            Wrong: not such an item, or it is shorter.
        """
        item = self.get(item_id)
        content = item.get("content", [])
        if (
            item.get("role") != "assistant"
            or content_index >= len(content)
            or content[content_index]["type"] != "output_audio"
        ):
            raise Wrong(
                "Only model output audio messages can be truncated.",
                code="invalid_value",
                param="item_id",
            )
        if end_ms > audio_ms:
            raise Wrong(
                f"Audio content of {int(audio_ms)}ms is already shorter than {end_ms}ms",
                code="invalid_value",
                param="audio_end_ms",
            )
        content[content_index].pop("transcript", None)

    def question(self, extra: list[Json] | None = None) -> tuple[str, str | None]:
        """What the user said last, and the tool's result when one came after that."""
        heard, result = "", None
        items = [self._items[i] for i in self._order] if extra is None else extra
        for given in items:
            reference = given["type"] == "item_reference"
            item = self.get(given["id"], "response.input") if reference else given
            if item["type"] == "function_call_output":
                result = item["output"]
            elif item.get("role") == "user":
                heard, result = self._heard.get(item.get("id", "")) or _text(item), None
        return heard, result


def _text(item: Json) -> str:
    parts = (part.get("text") or part.get("transcript") or "" for part in item["content"])
    return " ".join(part for part in parts if part)

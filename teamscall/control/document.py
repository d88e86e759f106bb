"""The contract as a document: OpenRPC with JSON Schema, made from the structs that are used.

Owns nothing but the shape of the document: what it says is in ``protocol`` and in the
records.
"""

from __future__ import annotations

import inspect
import types
from typing import Any, get_args

import msgspec

from teamscall import __version__
from teamscall.calls.records import CallRecord
from teamscall.control import protocol
from teamscall.control.protocol import EXIT_CODES, METHODS, ErrorCode
from teamscall.errors import ExitCode
from teamscall.text import kebab

_REF = "#/components/schemas/{name}"
_DESCRIPTION = (
    "JSON-RPC 2.0 over WebSocket, one object per text message, parameters by name. The path of "
    "the upgrade does not matter. On the Unix socket no token is needed; the TCP port "
    "(control.port) wants Authorization: Bearer and answers 401 without. A request with an "
    "Origin, as browsers send it, is refused. Answers may overtake each other: tell them apart "
    "by id, a text or a number. Batches and messages of more than "
    f"{protocol.MAX_REQUEST_BYTES} bytes are refused. An error has data.name, which does not "
    "change, and data.hint, for people; call-ambiguous has data.callIds, refused data.gates, "
    "reload-failed data.problems. Results, events and errors may grow by fields and the events "
    "by kinds: ignore what you do not know. Times are epoch milliseconds."
)


def document() -> dict[str, Any]:
    """JSON-ready; the same bytes for the same version."""
    kinds: list[Any] = []
    for method in METHODS.values():
        kinds += [method.params, *_each(method.result)]
    _, schemas = msgspec.json.schema_components([*kinds, protocol.Event], ref_template=_REF)
    events = get_args(CallRecord)
    _, of_events = msgspec.json.schema_components(events, ref_template=_REF)
    schemas |= {_named(name): _event(name, schema) for name, schema in of_events.items()}
    return {
        "openrpc": "1.3.2",
        "info": {
            "title": "teamscall control plane",
            "version": str(protocol.VERSION),
            "description": _DESCRIPTION,
            "x-teamscall": __version__,
        },
        "methods": [
            {
                "name": name,
                "summary": method.doc,
                "description": _plain(inspect.getdoc(method.params) or method.doc),
                "paramStructure": "by-name",
                "params": list(_params(schemas[method.params.__name__])),
                "result": {"name": "result", "schema": _result(method.result)},
                "errors": [{"$ref": f"#/components/errors/{code.word}"} for code in ErrorCode],
            }
            for name, method in METHODS.items()
        ],
        "x-notifications": [
            {
                "name": protocol.EVENT_METHOD,
                "summary": "What a subscription is told.",
                "params": {"$ref": _REF.format(name="Event")},
                "events": {
                    **{kebab(e.__name__): {"$ref": _REF.format(name=_of(e))} for e in events},
                    "gap": {"$ref": _REF.format(name="GapEvent")},
                },
            }
        ],
        "components": {
            "schemas": dict(sorted({**schemas, "GapEvent": _GAP}.items())),
            "errors": {code.word: _error(code) for code in ErrorCode},
        },
    }


_GAP: dict[str, Any] = {
    "title": "GapEvent",
    "description": "Events are missing here.",
    "type": "object",
    "properties": {
        "event": {"const": "gap"},
        "callId": {"type": "string"},
        "wallMs": {"type": "integer"},
        "missed": {"type": "integer", "description": "0: nobody knows how many."},
        "why": {"enum": ["slow", "forgotten", "restarted"]},
    },
    "required": ["event", "missed", "why"],
}


def _plain(doc: str) -> str:
    """A docstring, for people who do not read it in the source."""
    return " ".join(doc.replace("``", "").split())


def _each(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if isinstance(kind, types.UnionType) else (kind,)


def _result(kind: Any) -> dict[str, Any]:
    refs = [{"$ref": _REF.format(name=one.__name__)} for one in _each(kind)]
    return refs[0] if len(refs) == 1 else {"oneOf": refs}


def _params(schema: dict[str, Any]) -> Any:
    for name, property_ in schema["properties"].items():
        about = {key: property_[key] for key in ("description",) if key in property_}
        yield {
            "name": name,
            **about,
            "required": name in schema.get("required", ()),
            "schema": {key: value for key, value in property_.items() if key not in about},
        }


def _error(code: ErrorCode) -> dict[str, Any]:
    return {
        "code": int(code),
        "message": code.word,
        "data": {"name": code.word, "exitCode": int(EXIT_CODES.get(code, ExitCode.FAILED))},
    }


# --- events: records with their keys in camel case ------------------------------------------


def _of(kind: type) -> str:
    return _named(kind.__name__)


def _named(name: str) -> str:
    return f"{name}Event"


def _event(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    """A record's schema as the stream tells it."""
    properties = {
        _camel(key): _renamed(value)
        for key, value in schema.get("properties", {}).items()
        if key != "type"
    }
    required = [_camel(key) for key in schema.get("required", ()) if key != "type"]
    told = {**schema, "title": _named(name), "properties": properties, "required": required}
    if "type" in schema.get("properties", {}):
        told["properties"] = {"event": {"const": kebab(name)}, **properties}
        told["required"] = ["event", *required]
    return told


def _renamed(value: Any) -> Any:
    """References follow the new names."""
    if isinstance(value, dict):
        return {
            key: _REF.format(name=_named(one.rpartition("/")[2]))
            if key == "$ref"
            else _renamed(one)
            for key, one in value.items()
        }
    return [_renamed(one) for one in value] if isinstance(value, list) else value


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)

"""Where a path leads, and whose key opens it: OpenAI's own addresses and Azure's.

Pure. Azure has two: the current ``/openai/v1``, and the old ``/openai`` with a dated
``api-version`` and the deployment in the address.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote

from teamscall.testing.strict import Wrong
from teamscall.testing.visits import Visit

CONTROL = "/stand-in/"

Door = Literal["openai", "azure", "old-azure", "control"]

_DEPLOYMENT = re.compile(r"/openai/deployments/([^/]+)(/chat/completions|/audio/speech)")
_OLD_AZURE = frozenset({"/openai/realtime", "/openai/models", "/openai/responses"})


@dataclass(frozen=True, slots=True)
class Route:
    """``path``: as behind OpenAI's ``/v1``. ``deployment``: the model of an old Azure
    address, "" elsewhere."""

    path: str
    door: Door
    deployment: str = ""


def find(visit: Visit) -> Route:
    """Where ``visit`` goes.

    Raises:
        Wrong: nowhere.
    """
    path = visit.path
    if path.startswith(CONTROL):
        return Route(path, "control")
    if path.startswith("/openai/v1/"):
        return Route(path.removeprefix("/openai/v1"), "azure")
    if path.startswith("/v1/"):
        return Route(path.removeprefix("/v1"), "openai")
    deployed = _DEPLOYMENT.fullmatch(path)
    if deployed is None and path not in _OLD_AZURE:
        raise Wrong(f"Invalid URL ({visit.method} {path})", status=404)
    if not visit.query.get("api-version"):
        raise Wrong("Missing required query parameter: api-version", status=404)
    if deployed is None:
        deployment = visit.query.get("deployment", "")
        return Route(path.removeprefix("/openai"), "old-azure", deployment)
    return Route(deployed[2], "old-azure", unquote(deployed[1]))


def admit(visit: Visit, route: Route, key: str) -> None:
    """Raise Wrong unless ``visit`` carries ``key`` in a header that its door looks at.

    OpenAI wants it as a bearer's; Azure's old door in ``api-key`` (a bearer's is a token of
    Entra there, which this is not); the others take both. ``key`` "" is any.
    """
    scheme, _, bearer = visit.headers.get("authorization", "").partition(" ")
    given = bearer if scheme.lower() == "bearer" and route.door != "old-azure" else ""
    if not given and route.door != "openai":
        given = visit.headers.get("api-key", "")
    if not given:
        how = (
            "an api-key header"
            if route.door == "old-azure"
            else "an Authorization header using Bearer auth (i.e. Authorization: Bearer YOUR_KEY)"
        )
        raise Wrong(
            f"You didn't provide an API key. You need to provide your API key in {how}.",
            status=401,
        )
    if key and given != key:
        raise Wrong("Incorrect API key provided.", code="invalid_api_key", status=401)

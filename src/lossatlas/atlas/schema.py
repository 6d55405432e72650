"""What do the routes promise? The OpenAPI document of the atlas."""

from __future__ import annotations

from typing import Any

__all__ = ["SCHEMA"]

_RUN = {
    "name": "run",
    "in": "query",
    "required": True,
    "description": "The id of an entry of /api/runs; several for a comparison.",
    "schema": {"type": "array", "items": {"type": "string", "pattern": "^[0-9a-f]{12}$"}, "minItems": 1, "maxItems": 6},
}
_SMALL = {
    "name": "small",
    "in": "query",
    "description": "If given, whatever its value: only every n-th point, for a thumbnail.",
    "schema": {"type": "string"},
}
_COUNTS = {
    "type": "object",
    "required": ["total", "done", "failed", "non_finite"],
    "properties": {name: {"type": "integer"} for name in ("total", "done", "failed", "non_finite")},
}
_CARD = {
    "type": "object",
    "required": ["id", "name", "path", "version", "title", "changed", "kind", "group"],
    "properties": {
        **{name: {"type": "string"} for name in ("id", "name", "path", "version", "title", "kind", "group")},
        **{name: {"type": "string"} for name in ("model", "data", "seed", "words")},
        "range": {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2},
        "fault": {"type": "string"},
        "axes": {"type": "object", "additionalProperties": {"type": "integer"}},
        "values": {"type": "array", "items": {"type": "string"}},
        "counts": _COUNTS,
        "finished": {"type": "boolean"},
        "changed": {"type": "number"},
        "ruggedness": {
            "type": "number",
            "minimum": 0,
            "maximum": 1,
            "description": "Share of the rise and fall along rays from the centre that falls again after a rise; "
            "computed after the first list.",
        },
    },
    "additionalProperties": False,
}

_ROWS = {"type": "array", "items": {"type": "object", "additionalProperties": {"type": "string"}}}
_SHEET = {
    "type": "object",
    "required": ["title", "words", "tables", "pictures"],
    "properties": {
        "title": {"type": "string"},
        "words": {"type": "array", "items": {"type": "string"}},
        "tables": {
            "type": "array",
            "items": {"type": "object", "properties": {"name": {"type": "string"}, "rows": _ROWS}},
        },
        "pictures": {"type": "integer"},
    },
    "additionalProperties": False,
}
_NUMBER = {
    "name": "picture",
    "in": "query",
    "description": "Which picture, counted from 0.",
    "schema": {"type": "integer", "minimum": 0, "default": 0},
}


def _answer(kind: str, words: str, schema: Any | None = None) -> dict[str, Any]:
    return {"200": {"description": words, "content": {kind: {"schema": schema or {"type": "string"}}}}}


_REFUSED = {"400": {"description": "a bad argument"}, "403": {"description": "another host, origin, or no token"}}

SCHEMA: dict[str, Any] = {
    "openapi": "3.1.0",
    "info": {"title": "lossatlas", "version": "1", "description": "Landscapes on this machine, read-only."},
    "paths": {
        "/api/runs": {
            "get": {
                "summary": "what there is",
                "responses": {
                    **_answer("application/json", "cards", {"type": "array", "items": _CARD}),
                    **_REFUSED,
                },
            }
        },
        "/api/scene": {
            "get": {
                "summary": "a scene: uint32 length, JSON, arrays (little-endian float64 and uint8)",
                "parameters": [_RUN, _SMALL],
                "responses": {**_answer("application/octet-stream", "the scene"), **_REFUSED},
            }
        },
        "/api/sheet": {
            "get": {
                "summary": "words and tables of a connection, a table of flatness or a study",
                "parameters": [_RUN],
                "responses": {**_answer("application/json", "the sheet", _SHEET), **_REFUSED},
            }
        },
        "/api/picture": {
            "get": {
                "summary": "one of the pictures of a sheet",
                "parameters": [_RUN, _NUMBER],
                "responses": {**_answer("image/svg+xml", "the picture, or a png"), **_REFUSED},
            }
        },
        "/api/compare": {
            "get": {
                "summary": "measures of several landscapes with intervals, and the verdict of `lossatlas compare`",
                "parameters": [_RUN],
                "responses": {**_answer("application/json", "a sheet", _SHEET), **_REFUSED},
            }
        },
        "/api/events": {
            "get": {
                "summary": "how far a run has got, as server-sent events",
                "parameters": [_RUN],
                "responses": {**_answer("text/event-stream", "events named progress"), **_REFUSED},
            }
        },
        "/api/figure": {
            "post": {
                "summary": "a figure as `lossatlas draw` makes it; needs the header X-Lossatlas-Token",
                "parameters": [_RUN],
                "requestBody": {"content": {"application/json": {"schema": {"type": "object"}}}},
                "responses": {**_answer("application/pdf", "the figure"), **_REFUSED},
            }
        },
        "/api/schema": {"get": {"summary": "this document", "responses": _answer("application/json", "OpenAPI")}},
    },
}

"""The description of the paths, for programs as OpenAPI and for people as one page without a script."""

from __future__ import annotations

import inspect
from html import escape
from typing import Any

_ERRORS = {
    "400": "The request is not JSON.",
    "401": "The token is missing or wrong.",
    "404": "The model, or what the path needs, is not served.",
    "413": "Too many bytes or items.",
    "415": "Compressed, or not JSON.",
    "422": "A field is wrong.",
    "429": "Too much waits; see Retry-After.",
    "503": "Not ready, or not in time; see Retry-After.",
}
_ERROR = {
    "type": "object",
    "properties": {
        "error": {
            "type": "object",
            "properties": {
                name: {"type": ["string", "null"]} for name in ("code", "message", "where", "expected", "got", "hint")
            },
        }
    },
}


def specification(paths: list[tuple[Any, str, str, Any]], version: str) -> dict[str, Any]:
    """OpenAPI 3.1.

    Args:
        paths: handler, method, path, and the model of what it reads or None.
        version: of Munjang.
    """
    schemas: dict[str, Any] = {"Error": _ERROR}
    described: dict[str, Any] = {}
    for handler, method, path, reads in paths:
        summary = inspect.getdoc(handler) or path.strip("/")
        operation: dict[str, Any] = {"summary": summary, "responses": {"200": {"description": "The answer."}}}
        if reads is not None:
            schema = reads.model_json_schema(ref_template="#/components/schemas/{model}")
            schemas.update(schema.pop("$defs", {}))
            schemas[reads.__name__] = schema
            content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{reads.__name__}"}}}
            operation["requestBody"] = {"required": True, "content": content}
            error = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
            operation["responses"].update(
                {status: {"description": about, "content": error} for status, about in _ERRORS.items()}
            )
        described.setdefault(path, {})[method.lower()] = operation
    info = {"title": "Munjang", "version": version}
    return {"openapi": "3.1.0", "info": info, "paths": described, "components": {"schemas": schemas}}


def page(spec: dict[str, Any]) -> str:
    """The same as HTML: a section a path, a table of its fields."""
    parts = []
    for path, operations in spec["paths"].items():
        for method, operation in operations.items():
            parts.append(f"<h2>{method.upper()} {escape(path)}</h2><p>{escape(operation['summary'])}</p>")
            if "requestBody" in operation:
                reference = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
                schema = spec["components"]["schemas"][reference.rpartition("/")[2]]
                parts.append(_fields(schema))
    title = f"Munjang {escape(spec['info']['version'])}"
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>'
    link = '<p><a href="/openapi.json">openapi.json</a></p>'
    return (
        f'<!doctype html><html lang="en"><head>{head}</head><body><h1>{title}</h1>{link}{"".join(parts)}</body></html>'
    )


def _fields(schema: dict[str, Any]) -> str:
    required = schema.get("required", [])
    rows = []
    for name, field in schema["properties"].items():
        default = "required" if name in required else str(field.get("default"))
        cells = (f"<code>{escape(name)}</code>", escape(default), escape(field.get("description", "")))
        rows.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    return "<table><tr><th>field</th><th>default</th><th>meaning</th></tr>" + "".join(rows) + "</table>"

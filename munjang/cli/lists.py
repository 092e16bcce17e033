"""munjang data, munjang models"""

from __future__ import annotations

from munjang.cli.output import Common, print_json, stdout, table
from munjang.data.catalog import CATALOG, data_folder
from munjang.models.source import BUNDLED, BUNDLED_PREFIX


def data(*, common: Common | None = None) -> int:
    """List the data sets that are known by name, and whether they are on this machine."""
    rows = []
    folder = data_folder()
    for name, entry in CATALOG.items():
        for split, part in entry.parts.items():
            label = f"{name}:{split}" if len(entry.parts) > 1 else name
            files = [file + suffix for file in part.files for suffix in (part.aligned or ("",))[:1]]
            here = entry.embedded or (folder is not None and any((folder / file).is_file() for file in files))
            rows.append(
                {
                    "name": label,
                    "rows": entry.rows,
                    "here": here,
                    "hub": part.hub is not None,
                    "licence": entry.licence,
                    "about": entry.about,
                }
            )
    if (common or Common()).json:
        print_json(rows)
        return 0
    view = table(f"data sets (MUNJANG_DATA={folder or 'not set'})", "name", "rows", "where", "licence", "about")
    for row in rows:
        where = "here" if row["here"] else "hub" if row["hub"] else "missing"
        view.add_row(row["name"], row["rows"], where, row["licence"], row["about"])
    stdout().print(view)
    return 0


def models(*, common: Common | None = None) -> int:
    """List the models that come with Munjang and from the package index; a folder or a hub id works everywhere as well."""
    rows = [
        {"name": BUNDLED_PREFIX + name, "about": entry.about, "package": entry.package or "munjang"}
        for name, entry in BUNDLED.items()
    ]
    if (common or Common()).json:
        print_json(rows)
        return 0
    view = table("bundled models", "name", "about", "package")
    for row in rows:
        view.add_row(row["name"], row["about"], row["package"])
    stdout().print(view)
    return 0

"""The stage index."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from munjang.data.rows import Document
from munjang.engine.encoder import Encoder
from munjang.index.options import IndexOptions
from munjang.index.search import encode_documents
from munjang.index.store import write_index
from munjang.models.folder import fingerprint_model
from munjang.pipeline.stage import Context
from munjang.stages.inputs import load_input_rows, model_folder


def run_index(options: IndexOptions, context: Context, out: Path) -> dict[str, Any]:
    """Encode the documents and write the index into `out`."""
    documents = []
    for value in options.documents:
        rows = load_input_rows(context, value, ("documents", "sentences")).rows
        # Line numbers of several sets would collide; ids of the user's own stay as they are, for qrels name them.
        prefix = f"{value.removeprefix('data:')}:" if len(options.documents) > 1 and isinstance(rows[0], str) else ""
        documents += [Document(f"{prefix}{n}", r) if isinstance(r, str) else r for n, r in enumerate(rows, 1)]
    folder = model_folder(context, options.model)
    encoder = Encoder(folder, context.device, backend="exact", cache=True)
    vectors = encode_documents(documents, encoder, context.progress(f"indexing {len(documents):,} texts"))
    write_index(
        out,
        documents,
        vectors,
        home=out,
        model=folder,
        model_fingerprint=fingerprint_model(folder),
        reranker=None if options.reranker is None else model_folder(context, options.reranker),
    )
    return {"documents": len(documents), "dimension": encoder.dimension, "truncated": encoder.counts.truncated}

"""What a client may send: the fields of OpenAI's embeddings, of Cohere's and Jina's rerank, and of Munjang's own paths.

Unknown fields are refused, because a misspelt one would be ignored without a word. Fields of the original services that
mean nothing here are taken only where their clients send them by themselves.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr

Use = Literal["similarity", "query", "document", "none"]
_Count = Annotated[StrictInt, Field(ge=1)]


class Request(BaseModel):
    """A request with known fields only."""

    model_config = ConfigDict(extra="forbid", strict=True)

    model: StrictStr | None = Field(None, description="A served model; by default the first that can do it.")


class EmbeddingsRequest(Request):
    """`POST /v1/embeddings`, as OpenAI's."""

    input: StrictStr | list[Any] = Field(description="A text, or a list of texts. Token ids are refused.")
    encoding_format: Literal["float", "base64"] = Field("float", description="base64: little-endian float32.")
    dimensions: _Count | None = Field(None, description="Cuts the vectors, as Matryoshka models allow.")
    user: StrictStr | None = Field(None, description="Not read.")
    use: Use | None = Field(
        None,
        description="Which of the model's prompts goes before each text; `none` for none. By default `similarity`.",
    )


class RerankRequest(Request):
    """`POST /v1/rerank` and `/v2/rerank`, as Cohere's and Jina's."""

    query: StrictStr
    documents: list[StrictStr | dict[str, Any]] = Field(description="Texts, or objects with a field `text`.")
    top_n: _Count | None = Field(None, description="Results to return; by default all.")
    return_documents: bool = Field(False, description="Whether each result carries its document.")
    rank_fields: list[StrictStr] | None = Field(None, description="Fields of the objects that are read, in this order.")


class SearchRequest(Request):
    """`POST /v1/search`."""

    query: StrictStr
    top: _Count = Field(5, description="Hits to return.")
    rerank: Annotated[StrictInt, Field(ge=0)] = Field(20, description="First hits that the cross-encoder orders anew.")


class SimilarityRequest(Request):
    """`POST /v1/similarity`."""

    pairs: list[list[StrictStr]] = Field(description="Texts two by two.")
    by: Literal["bi-encoder", "cross-encoder"] = Field(
        "bi-encoder", description="Cosines of vectors, or the mean score of both orders."
    )

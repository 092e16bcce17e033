"""The models over HTTP: embeddings, reranking, similarity and search."""

"""Indexes of Elasticsearch and of OpenSearch, captured by their snapshot API."""

from llmvault.sources.elasticsearch.store import ElasticsearchIndexes, OpenSearchIndexes

__all__ = ["ElasticsearchIndexes", "OpenSearchIndexes"]

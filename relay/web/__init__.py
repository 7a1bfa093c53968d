"""The HTTP interface: hooks for storages, the JSON API, health checks and the pages."""

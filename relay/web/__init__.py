"""The web floor: hooks for storages, the API for programs, pages for people."""

import os
from datetime import UTC, datetime

from pydantic import DirectoryPath

from relay.config.load import SourceSettings
from relay.errors import Gone, PermanentFailure, Superseded
from relay.model import Event, ObjectInfo, ObjectRef
from relay.sources.contract import StorageHandler
from relay.sources.fields import count_or_none, text


class NasSettings(SourceSettings):
    folder: DirectoryPath  # the only key that this kind adds to [sources.NAME]


class FileRange:
    """The bytes of one file: `info`, `read`, `close`."""

    def __init__(self, file, info, length):
        self.info, self.file, self.left = info, file, length
        self.read, self.close = self.read_some, file.close

    def read_some(self, size):
        part = self.file.read(min(size, max(self.left, 0)))
        self.left -= len(part)
        return part


class Handler(StorageHandler):
    Settings = NasSettings

    def parse(self, record):
        if text(record, "event") != "created":  # an allow-list, never a prefix
            return
        ref = ObjectRef(
            text(record, "volume"),
            text(record, "path"),
            etag=text(record, "etag"),
            size=count_or_none(record, "size"),
        )
        yield Event(ref, f"etag:{ref.etag}", "created")

    def open(self, ref, start=0, end=None):
        # The bucket is the volume, whose name is also the source's name.
        if ref.bucket != self.name or not ref.key or "\0" in ref.key:
            raise PermanentFailure("nas.unknown_file", "The source has no such file")
        path = self.settings.folder / ref.key.replace("/", "∕")
        try:
            file = path.open("rb")
        except (OSError, UnicodeError) as error:  # raise only errors of relay.errors
            raise Gone("object.gone", "The file no longer exists") from error
        seen = os.fstat(file.fileno())
        etag = f"{seen.st_ino}-{seen.st_size}-{seen.st_mtime_ns}"
        if ref.etag not in (None, etag):  # exactly the announced bytes, or none
            file.close()
            raise Superseded("object.superseded", "The file has changed since it was announced")
        file.seek(start)
        info = ObjectInfo(seen.st_size, etag, None, datetime.fromtimestamp(seen.st_mtime, UTC))
        return FileRange(file, info, (seen.st_size if end is None else end) - start)

"""Logs: one readable line on a terminal, one JSON object a line on a service. Never a secret."""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime
from typing import Any

from meshnode.domain.json_text import dump_json


class JsonFormatter(logging.Formatter):
    """A record as one JSON object; `extra={"fields": {…}}` adds members."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter`."""
        entry: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat().replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return dump_json(entry).decode()


class TerminalFormatter(logging.Formatter):
    """`12:00:00  message`, warnings marked."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter`."""
        at = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S")
        mark = f"{record.levelname.lower()}: " if record.levelno >= logging.WARNING else ""
        fields = "".join(f" {name}={value}" for name, value in getattr(record, "fields", {}).items())
        text = f"{at}  {mark}{record.getMessage()}{fields}"
        return f"{text}\n{self.formatException(record.exc_info)}" if record.exc_info else text


def set_up_logging(level: int = logging.INFO) -> None:
    """Log to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(TerminalFormatter() if sys.stderr.isatty() else JsonFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.getLogger("zeroconf").setLevel(logging.CRITICAL)  # it logs tracebacks when an interface goes
    logging.getLogger("aiosqlite").setLevel(logging.WARNING)
    logging.getLogger("asyncio").setLevel(max(level, logging.WARNING))

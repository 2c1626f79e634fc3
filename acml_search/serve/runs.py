"""Runs: a file of many queries, answered one run after another, while its sender may go away."""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import shutil
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, BinaryIO

from acml_search.core.errors import AcmlSearchError, ConfigError
from acml_search.core.timing import Stopped, step, stoppable
from acml_search.library.catalog import sql_seconds
from acml_search.search.batch import BatchReport, finished_lines, run
from acml_search.search.pipeline import Index
from acml_search.search.render.files import write_run
from acml_search.search.request import Ask
from acml_search.serve.gate import Limits, Refused

FORMATS = {
    "jsonl": "application/x-ndjson",
    "csv": "text/csv",
    "tsv": "text/tab-separated-values",
    "parquet": "application/vnd.apache.parquet",
    "html": "text/html",
    "mztab": "text/tab-separated-values",
}

log = logging.getLogger(__name__)


@dataclass
class Run:
    """One run. source: the file, in a folder of the run's own, beside the lines that are kept. state: queued,
    running, done, failed or cancelled."""

    id: str
    name: str
    source: Path
    modality: str | None = None
    state: str = "queued"
    report: BatchReport = field(default_factory=BatchReport)
    total: int | None = None
    error: str | None = None
    stop: threading.Event = field(default_factory=threading.Event)

    @property
    def ended(self) -> bool:
        return self.state not in ("queued", "running")

    @property
    def lines(self) -> Path:
        return self.source.with_name("lines")

    def documents(self) -> Iterator[dict[str, Any]]:
        """The answers, in which the file is called as its sender does."""
        own, sent = str(self.source), json.dumps(self.name)[1:-1]
        for document in finished_lines(self.lines):
            yield json.loads(json.dumps(document).replace(own, sent))

    def to_dict(self) -> dict[str, Any]:
        report = self.report
        return {
            **{name: getattr(self, name) for name in ("id", "name", "modality", "state")},
            "done": report.queries + report.passed_over,
            "total": self.total,
            **{name: getattr(report, name) for name in ("failed", "empty", "passed_over")},
            "error": self.error,
        }


class Runs:
    """All runs of a server; they end with it. Who knows the id of a run, which cannot be guessed, may see
    and end it."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._folder = Path(mkdtemp(prefix="acml-search-runs-"))
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="run")
        self._runs: dict[str, Run] = {}
        self._lock = threading.Lock()

    def start(self, index: Index, ask: Ask, file: BinaryIO, name: str, ending: str) -> Run:
        """Begin a run, or queue it. name: as it is shown; ending: of the file. Raises Refused (503)."""
        with self._lock:
            ended = [one for one in self._runs.values() if one.ended]
            if len(self._runs) - len(ended) > self._limits.runs:
                raise Refused(503, "so many runs wait that another would wait long; ask again later", 60)
            for one in ended[: -self._limits.kept_runs]:
                self._forget(one)
            made = secrets.token_urlsafe(16)
            one = self._runs[made] = Run(made, name, self._folder / made / f"run{ending}", ask.modality)
        one.source.parent.mkdir()
        with one.source.open("wb") as target:
            shutil.copyfileobj(file, target)
        self._thread.submit(self._answer, one, index, ask)
        return one

    def get(self, made: str) -> Run:
        """Raises Refused (404)."""
        if made not in self._runs:
            raise Refused(404, "there is no such run; the server forgets old ones, and all when it ends")
        return self._runs[made]

    def end(self, made: str) -> Run:
        """Cancel a run, or forget one that has ended."""
        one = self.get(made)
        one.stop.set()
        with self._lock:
            if one.ended:
                self._forget(one)
        return one

    def result(self, made: str, form: str) -> Path:
        """A file with the answers. Raises Refused (409) for a run that is not done, and (422)."""
        one = self.get(made)
        if form not in FORMATS:
            raise Refused(422, f"a run is written as {', '.join(FORMATS)}")
        if one.state != "done":
            raise Refused(409, f"the run is {one.state}, so there is no result")
        out = one.source.with_name(f"result.{form}")
        with self._lock:
            if not out.exists():
                write_run(one.documents, out, form, name=one.name, source=Path(one.name))
        return out

    async def events(self, one: Run) -> AsyncIterator[str]:
        """Server-sent events: the state whenever it changes, until the end."""
        said = ""
        while True:
            ended, now = one.ended, json.dumps(one.to_dict())
            if now != said:
                said = now
                yield f"data: {now}\n\n"
            if ended:
                return
            await asyncio.sleep(0.25)

    def close(self) -> None:
        for one in self._runs.values():
            one.stop.set()
        self._thread.shutdown(wait=True, cancel_futures=True)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _answer(self, one: Run, index: Index, ask: Ask) -> None:
        sql_seconds.set(self._limits.sql_seconds)

        def watch(report: BatchReport, total: int | None) -> None:
            one.report, one.total = report, total
            step()

        state = "failed"
        try:
            one.state = "running"
            stoppable(one.stop, lambda: run(index, one.source, ask, one.lines, workers=1, watch=watch))
            if not one.report.queries:
                raise ConfigError(f"{one.source}: it holds no query of this kind")
            state = "done"
        except Stopped:
            state = "cancelled"
        except AcmlSearchError as error:
            one.error = str(error).replace(str(one.source), one.name)
        except Exception:  # told to the client, and to the operator with its traceback
            log.exception("run %s", one.name)
            one.error = "the server failed; its log says why"
        finally:
            one.state = state

    def _forget(self, one: Run) -> None:
        self._runs.pop(one.id, None)
        shutil.rmtree(one.source.parent, ignore_errors=True)

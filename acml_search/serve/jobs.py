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
from acml_search.search.batch import Ask, BatchReport, finished_lines, run
from acml_search.search.pipeline import Index
from acml_search.search.render.run import write_run
from acml_search.serve.limits import Limits, Refused

FORMATS = {
    "jsonl": "application/x-ndjson",
    "csv": "text/csv",
    "tsv": "text/tab-separated-values",
    "parquet": "application/vnd.apache.parquet",
    "html": "text/html",
    "mztab": "text/tab-separated-values",
}
QUEUED, RUNNING, DONE, FAILED, CANCELLED = "queued", "running", "done", "failed", "cancelled"

log = logging.getLogger(__name__)


@dataclass
class Job:
    """One run. folder: it holds the file, and the lines that are kept."""

    id: str
    name: str
    folder: Path
    source: Path
    modality: str | None = None
    state: str = QUEUED
    report: BatchReport = field(default_factory=BatchReport)
    total: int | None = None
    error: str | None = None
    stop: threading.Event = field(default_factory=threading.Event)

    @property
    def ended(self) -> bool:
        return self.state not in (QUEUED, RUNNING)

    def documents(self) -> Iterator[dict[str, Any]]:
        """The answers, in which the file is called as its sender does."""
        own, sent = str(self.source), json.dumps(self.name)[1:-1]
        for document in finished_lines(self.folder / "lines"):
            yield json.loads(json.dumps(document).replace(own, sent))

    def to_dict(self) -> dict[str, Any]:
        report = self.report
        return {
            "id": self.id,
            "name": self.name,
            "modality": self.modality,
            "state": self.state,
            "done": report.queries + report.passed_over,
            "total": self.total,
            "failed": report.failed,
            "empty": report.empty,
            "passed_over": report.passed_over,
            "error": self.error,
        }


class Jobs:
    """All runs of a server; they end with it. Who knows the id of a run, which cannot be guessed, may see
    and end it."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._folder = Path(mkdtemp(prefix="acml-search-runs-"))
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="run")
        self._jobs: dict[str, Job] = {}
        self._lock = threading.Lock()

    def start(self, index: Index, ask: Ask, file: BinaryIO, name: str, ending: str) -> Job:
        """Begin a run, or queue it. name: as it is shown; ending: of the file. Raises Refused (503)."""
        with self._lock:
            if sum(not job.ended for job in self._jobs.values()) > self._limits.runs:
                raise Refused(503, "so many runs wait that another would wait long; ask again later", 60)
            for job in [job for job in self._jobs.values() if job.ended][: -self._limits.kept_runs]:
                self._forget(job)
            folder = self._folder / (made := secrets.token_urlsafe(16))
            folder.mkdir()
            job = self._jobs[made] = Job(made, name, folder, folder / f"run{ending}", ask.modality)
        with job.source.open("wb") as target:
            shutil.copyfileobj(file, target)
        self._thread.submit(self._run, job, index, ask)
        return job

    def get(self, made: str) -> Job:
        """Raises Refused (404)."""
        if made not in self._jobs:
            raise Refused(404, "there is no such run; the server forgets old ones, and all when it ends")
        return self._jobs[made]

    def end(self, made: str) -> Job:
        """Cancel a run, or forget one that has ended."""
        job = self.get(made)
        job.stop.set()
        with self._lock:
            if job.ended:
                self._forget(job)
        return job

    def result(self, made: str, form: str) -> Path:
        """A file with the answers. Raises Refused (409) for a run that is not done, and (422)."""
        job = self.get(made)
        if form not in FORMATS:
            raise Refused(422, f"a run is written as {', '.join(FORMATS)}")
        if job.state != DONE:
            raise Refused(409, f"the run is {job.state}, so there is no result")
        out = job.folder / f"result.{form}"
        with self._lock:
            if not out.exists():
                write_run(job.documents, out, form, name=job.name, source=Path(job.name))
        return out

    async def events(self, made: str) -> AsyncIterator[str]:
        """Server-sent events: the state whenever it changes, until the end."""
        job, said = self.get(made), ""
        while True:
            ended, now = job.ended, json.dumps(job.to_dict())
            if now != said:
                said = now
                yield f"data: {now}\n\n"
            if ended:
                return
            await asyncio.sleep(0.25)

    def close(self) -> None:
        for job in self._jobs.values():
            job.stop.set()
        self._thread.shutdown(wait=True, cancel_futures=True)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _run(self, job: Job, index: Index, ask: Ask) -> None:
        sql_seconds.set(self._limits.sql_seconds)

        def watch(report: BatchReport, total: int | None) -> None:
            job.report, job.total = report, total
            step()

        state = FAILED
        try:
            job.state = RUNNING
            stoppable(
                job.stop,
                lambda: run(index, job.source, ask, job.folder / "lines", workers=1, watch=watch),
            )
            if not job.report.queries:
                raise ConfigError(f"{job.source}: it holds no query of this kind")
            state = DONE
        except Stopped:
            state = CANCELLED
        except AcmlSearchError as error:
            job.error = str(error).replace(str(job.source), job.name)
        except Exception:  # told to the client, and to the operator with its traceback
            log.exception("run %s", job.name)
            job.error = "the server failed; its log says why"
        finally:
            job.state = state

    def _forget(self, job: Job) -> None:
        self._jobs.pop(job.id, None)
        shutil.rmtree(job.folder, ignore_errors=True)

"""`acml-search serve` under load: how soon it answers, how fast, how much at a time, and with what memory.

    python -m benchmarks.serve indexes/chembl --queries ../shared/data/nmr_c13.parquet --out OUT.json

Starts the server on a free port of this machine and asks it by HTTP for ten hits of records of a Parquet
file (`valid` rows), re-ranked, by 4 users who each wait for an answer before they ask again; then by 50 at
once, when nothing but answers and 503 may come. Memory is that of the server's process: all of it, and the
part that is not mapped from files. Users and server share the cores; the load of the machine before is
written down too.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

import httpx2
import numpy as np
import typer

from acml_search.core.workers import cpu_count
from benchmarks.shared import PROGRAM, finish, percentiles, records

WARM = 10  # searches that do not count
Seen = list[tuple[int, float]]  # status of HTTP (0: no answer), seconds


def serve(
    index: Annotated[Path, typer.Argument(metavar="INDEX")],
    queries: Annotated[Path, typer.Option(help="Parquet file of records.")],
    modality: str = "c_nmr",
    where: Annotated[str, typer.Option(help="SQL: the rows that are queries.")] = "split = 'valid'",
    seconds: Annotated[float, typer.Option(help="That 4 users ask.")] = 600.0,
    crowd_seconds: Annotated[float, typer.Option(help="That 50 users ask.")] = 120.0,
    seed: int = 0,
    out: Annotated[Path | None, typer.Option(help="JSON file to write, too.")] = None,
) -> None:
    """How does the server bear users?"""
    asked = records(queries, modality, where, 2000, seed)
    bodies = [json.dumps({modality: record, "k": 10}) for record in asked]
    load, cores = os.getloadavg()[0], cpu_count()
    started = time.perf_counter()
    server = subprocess.Popen(
        [sys.executable, "-P", "-c", PROGRAM, "serve", str(index), "--port", "0"],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )
    try:
        found = re.search(r"http://\S+", server.stderr.readline() if server.stderr else "")
        if found is None:
            raise typer.BadParameter("the server does not start on it", param_hint="INDEX")
        measured = asyncio.run(_ask(found[0], bodies, started, seconds, crowd_seconds, server.pid, seed))
    finally:
        server.terminate()
        server.wait(30)
    about = {"index": str(index), "modality": modality, "cores": cores, "load_before": round(load, 1)}
    finish("serve", about | measured, out)


async def _ask(
    url: str, bodies: list[str], started: float, seconds: float, crowd: float, pid: int, seed: int
) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    async with httpx2.AsyncClient(
        base_url=url, timeout=300, limits=httpx2.Limits(max_connections=64)
    ) as client:
        while True:
            try:
                described = (await client.get("/api/indexes")).json()
                break
            except httpx2.TransportError:
                await asyncio.sleep(0.05)
        result: dict[str, Any] = {
            "molecules": described["indexes"][0]["molecules"],
            "answers_after_s": round(time.perf_counter() - started, 2),
        }
        await _user(client, bodies[:1], time.perf_counter(), rng)
        result["first_search_after_s"] = round(time.perf_counter() - started, 2)
        for body in bodies[:WARM]:
            await client.post("/api/search", content=body)
        memory = [_memory(pid)]
        for users, many in ((4, seconds), (50, crowd)):
            end = time.perf_counter() + many
            begun = time.perf_counter()
            asked = await asyncio.gather(*(_user(client, bodies, end, rng) for _ in range(users)))
            seen = list(chain.from_iterable(asked))
            memory.append(_memory(pid))
            result[f"users_{users}"] = _told(seen, time.perf_counter() - begun)
        stages = {"warm": memory[0], "after_4_users": memory[1], "after_50_users": memory[2]}
        return {**result, "memory_mb": stages}


async def _user(client: httpx2.AsyncClient, bodies: list[str], end: float, rng: Any) -> Seen:
    """Asks, waits for the answer, and asks again until the time `end`; at least once."""
    seen: Seen = []
    while not seen or time.perf_counter() < end:
        begun = time.perf_counter()
        try:
            answer = await client.post("/api/search", content=bodies[int(rng.integers(len(bodies)))])
        except httpx2.TransportError:
            seen.append((0, time.perf_counter() - begun))
            continue
        seen.append((answer.status_code, time.perf_counter() - begun))
        if answer.status_code == 503:
            await asyncio.sleep(float(answer.headers["retry-after"]))
    return seen


def _told(seen: Seen, seconds: float) -> dict[str, Any]:
    answered = [took for status, took in seen if status == 200]
    return {
        "seconds": round(seconds, 1),
        "searches": len(seen),
        "answered_per_s": round(len(answered) / seconds, 2),
        **percentiles(answered),
        "statuses": {str(status): n for status, n in sorted(Counter(status for status, _ in seen).items())},
    }


def _memory(pid: int) -> dict[str, int]:
    """MB of a process (Linux): all that is resident, and of that what is not mapped from files."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    kb = {
        name: int(value.split()[0])
        for name, _, value in (line.partition(":") for line in lines)
        if "kB" in value
    }
    return {"resident": kb["VmRSS"] // 1000, "anonymous": kb["RssAnon"] // 1000}


if __name__ == "__main__":
    typer.run(serve)

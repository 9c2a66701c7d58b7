"""What the pages fetch by address: thumbnails, videos and curves of episodes, pages of fine-tunings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI
from fastapi.responses import FileResponse, JSONResponse, Response
from starlette.concurrency import run_in_threadpool

from vla_adapter_ros.console.console import Console
from vla_adapter_ros.console.episodes import EpisodeStore
from vla_adapter_ros.console.runs import RunStore
from vla_adapter_ros.errors import DatasetError, VlaAdapterError
from vla_adapter_ros.trials.table import to_csv

# A page that lies in a folder may be somebody else's: it shows text and pictures, and runs nothing.
SANDBOX = "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def add_files(application: FastAPI, current: Callable[[], Console | None]) -> None:
    """Add the addresses to the web application.

    Args:
        application: Gets them.
        current: The console of the moment.
    """

    def episodes() -> EpisodeStore:
        console = current()
        if console is None or console.episodes is None:
            raise DatasetError("no data set is shown")
        return console.episodes

    def runs() -> RunStore:
        console = current()
        if console is None or console.runs is None:
            raise DatasetError("no fine-tunings are shown")
        return console.runs

    @application.get("/episodes/{number}/thumbnail")
    async def thumbnail(number: int) -> Response:
        jpeg = await run_in_threadpool(lambda: episodes().thumbnail(number))
        return Response(jpeg, media_type="image/jpeg")

    @application.get("/episodes/{number}/curves")
    async def curves(number: int) -> Response:
        text = await run_in_threadpool(lambda: episodes().curves(number))
        return Response(text, media_type="application/json")

    @application.get("/episodes/{number}/clip/{camera}")
    async def clip(number: int, camera: str) -> Response:
        found = await run_in_threadpool(lambda: episodes().clip(number, camera))
        return JSONResponse({"start": found.start, "end": found.end})

    @application.get("/episodes/{number}/video/{camera}")
    async def video(number: int, camera: str) -> Response:
        found = await run_in_threadpool(lambda: episodes().clip(number, camera))
        return FileResponse(found.path, media_type="video/mp4")

    @application.get("/trials.csv")
    async def trials() -> Response:
        text = await run_in_threadpool(lambda: to_csv(episodes().trials()))
        headers = {"content-disposition": 'attachment; filename="trials.csv"'}
        return Response(text, media_type="text/csv; charset=utf-8", headers=headers)

    @application.get("/runs/{name}/{page}")
    async def run_page(name: str, page: str) -> Response:
        path = await run_in_threadpool(lambda: runs().page(name, page))
        return FileResponse(path, media_type="text/html", headers={"content-security-policy": SANDBOX})

    @application.exception_handler(VlaAdapterError)
    async def not_found(_: Any, error: VlaAdapterError) -> Response:
        return JSONResponse({"error": str(error)}, status_code=404)

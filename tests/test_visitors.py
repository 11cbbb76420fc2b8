"""Visitors of the app: only a few kernels at once, and concurrent jobs of one page."""

import asyncio
import threading
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager
from tornado.web import HTTPError

from nnss_utils.errors import InputError
from nnss_utils.model.model_file import save_model
from nnss_utils.notebook.app import App, Stopped
from nnss_utils.notebook.controls import Watch
from nnss_utils.notebook.visitors import VisitorKernels
from nnss_utils.paths import run_file


def test_visitors_beyond_the_most_are_told_so(monkeypatch):
    manager, listed = VisitorKernels(most=3), []

    async def start(self, **options: object) -> str:
        await asyncio.sleep(0)  # meanwhile others ask
        listed.append(str(len(listed)))
        return listed[-1]

    monkeypatch.setattr(AsyncMappingKernelManager, "start_kernel", start)
    monkeypatch.setattr(VisitorKernels, "list_kernel_ids", lambda _: listed)

    async def five() -> list:
        return await asyncio.gather(*(manager.start_kernel() for _ in range(5)), return_exceptions=True)

    answers = asyncio.run(five())
    assert answers[:3] == ["0", "1", "2"]
    assert all(isinstance(answer, HTTPError) and answer.status_code == 503 for answer in answers[3:])
    assert "All 3 pianos are taken" in answers[3].reason
    listed.pop()  # one has gone
    assert asyncio.run(manager.start_kernel()) == "2"
    assert 0 < manager.cull_idle_timeout + manager.cull_interval <= 30 and not manager.cull_connected


def test_a_kernel_ends_without_its_page_but_not_while_that_loads(monkeypatch):
    manager, ended = VisitorKernels(), []

    async def cull(self, kernel_id: str) -> None:
        ended.append(kernel_id)

    monkeypatch.setattr(AsyncMappingKernelManager, "cull_kernel_if_idle", cull)
    for name, quiet in {"loads": 60, "was closed": 60, "never came": 121}.items():
        manager._kernels[name] = SimpleNamespace(last_activity=datetime.now(UTC) - timedelta(seconds=quiet))
    for name, state, quiet in (("connects", "idle", 55), ("left", "idle", 65)):  # four load
        at = datetime.now(UTC) - timedelta(seconds=quiet)
        manager._kernels[name] = SimpleNamespace(last_activity=at, execution_state=state)
    manager.notify_connect("was closed")
    for name in manager._kernels:
        asyncio.run(manager.cull_kernel_if_idle(name))
    manager._kernels.clear()
    assert ended == ["was closed", "never came", "left"]


def test_a_page_s_question_is_answered(monkeypatch):
    watch, said = Watch(), []
    monkeypatch.setattr(watch, "send", said.append)
    watch._handle_custom_msg({"type": "there?"}, [])
    assert said == [{"type": "here"}]


@pytest.fixture(scope="module")
def desk(model, tmp_path_factory):
    save_model(run_file("small"), model)
    return App("small", folder=tmp_path_factory.mktemp("played"))


def test_jobs_follow_each_other_on_one_thread_and_the_last_one_counts(desk):
    begun, goes_on, threads = threading.Event(), threading.Event(), []

    def first() -> None:
        threads.append(threading.current_thread())
        begun.set()
        goes_on.wait(30)
        desk._check_stop()  # stopped by the next one
        threads.append("not stopped")

    def last() -> None:
        threads.append(threading.current_thread())
        raise InputError("the last one's line")

    desk._begin(first)
    assert begun.wait(30)
    desk._begin(lambda: threads.append("skipped by the one after it"))
    desk._begin(last)  # returns at once, though the first one runs
    assert threads[1:] == [] and "stopping" in desk.piece_message.value
    goes_on.set()
    desk.wait()
    assert len(threads) == 2 and threads[0] is threads[1]
    assert "the last one&#x27;s line" in desk.piece_message.value and desk.cancel.disabled


def test_the_stop_button_stops_what_runs(desk):
    begun, said = threading.Event(), []

    def job() -> None:
        begun.set()
        try:
            while True:
                desk._check_stop()
        except Stopped:
            said.append("stopped")
            raise

    desk._begin(job)
    assert begun.wait(30)
    desk.cancel.click()
    desk.wait()
    assert said == ["stopped"] and desk.piece_message.value == "stopped"

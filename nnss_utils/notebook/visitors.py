"""Kernels of the app's visitors (`make app`): a few at once, and none that stays behind when its page is closed."""

from datetime import UTC, datetime, timedelta

from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager
from tornado.web import HTTPError
from traitlets import Integer, Set

BUSY = "All %d pianos are taken: reload this page in a minute or two"


class VisitorKernels(AsyncMappingKernelManager):
    """Starts at most `most` kernels, and ends one whose page was closed some 20 s ago, be it open or loading. A page
    that is open and idle, or in a tab that sleeps, keeps its connection and so its kernel."""

    most = Integer(10, min=1, config=True, help="pages at once, each with a kernel")
    loading = Integer(120, config=True, help="s in which a new kernel must start")
    connecting = Integer(
        15, config=True, help="s in which a page must connect after its cells, times the pages that load"
    )
    cull_idle_timeout = Integer(15, config=True, help="s without a page after which a kernel ends")
    cull_interval = Integer(5, config=True, help="s between two looks for such kernels")
    _opened = Set(help="kernels that have had a page")
    _starting = 0  # kernels that are not listed yet

    async def start_kernel(self, **options: object) -> str:
        """Return the name of a new kernel; raises `HTTPError`, which the visitor reads, if there are too many."""
        if len(self.list_kernel_ids()) + self._starting >= self.most:
            raise HTTPError(503, reason=BUSY % self.most)
        self._starting += 1
        try:
            return await super().start_kernel(**options)
        finally:
            self._starting -= 1

    def notify_connect(self, kernel_id: str) -> None:
        """Count a page that connects."""
        self._opened.add(kernel_id)
        super().notify_connect(kernel_id)

    async def cull_kernel_if_idle(self, kernel_id: str) -> None:
        """End a kernel without a page, but not while its page loads."""
        kernel = self._kernels[kernel_id]
        loading = set(self._kernels) - self._opened  # they share the processors
        starts = getattr(kernel, "execution_state", "starting") == "starting"
        patience = self.loading if starts else min(self.loading, self.connecting * len(loading))
        quiet = datetime.now(UTC) - kernel.last_activity
        if kernel_id in self._opened or quiet > timedelta(seconds=patience):
            await super().cull_kernel_if_idle(kernel_id)

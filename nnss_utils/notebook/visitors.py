"""Kernels of the app's visitors (`make app`): a few at once, and none that stays behind when its page is closed."""

from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager
from tornado.web import HTTPError
from traitlets import Integer

BUSY = "This piano has %d players, as many as it can have. Reload this page in half a minute."


class VisitorKernels(AsyncMappingKernelManager):
    """Starts at most `most` kernels, and ends one that has had no page for some 20 s. A page that is open and idle, or
    in a tab that sleeps, keeps its connection and so its kernel."""

    most = Integer(10, min=1, config=True, help="pages at once, each with a kernel of about 0.9 GB")
    cull_idle_timeout = Integer(15, config=True, help="s without a page after which a kernel ends")
    cull_interval = Integer(5, config=True, help="s between two looks for such kernels")

    _starting = 0  # kernels that are not listed yet

    async def start_kernel(self, **options: object) -> str:
        """Return the name of a new kernel; raises `HTTPError`, which the visitor reads, if there are too many."""
        if len(self.list_kernel_ids()) + self._starting >= self.most:
            raise HTTPError(503, BUSY, self.most, reason="All pianos are taken")
        self._starting += 1
        try:
            return await super().start_kernel(**options)
        finally:
            self._starting -= 1

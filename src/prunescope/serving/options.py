"""Options for serving the dashboard."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Options:
    """How to serve.

    Attributes:
        open_browser: Whether to open the page in the user's browser.
        token: Access token; ``""`` gives everyone access.
        base_url: Path under which everything is served; starts and ends with ``/``.
        max_sessions: Most sessions at once; further visitors wait.
        idle_timeout: Seconds without use after which a session is ended.
        ready: Number of kernels started in advance for the next visitors.
        hub: Whether a JupyterHub authenticates visitors; ``token`` is then ignored.
        preload: Modules that are already loaded when a kernel starts.
    """

    open_browser: bool = True
    token: str = ""
    base_url: str = "/"
    max_sessions: int = 20
    idle_timeout: float = 1200
    ready: int = 1
    hub: bool = False
    preload: tuple[str, ...] = ("prunescope.explorer", "voila.utils")

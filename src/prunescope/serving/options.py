"""What the person who serves the dashboard decides."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Options:
    """How to serve.

    Attributes:
        open_browser: Whether to open the page in the user's browser.
        token: What a visitor must know; ``""`` lets everyone in.
        base_url: Path under which everything is served; starts and ends with ``/``.
        max_sessions: Visitors served at once; the next one waits.
        idle_timeout: Seconds without use after which a session is ended.
        ready: Explorers kept ready for the next visitors.
        hub: Whether a JupyterHub decides who comes in, and ``token`` has no say.
        preload: Modules that kernels find loaded.
    """

    open_browser: bool = True
    token: str = ""
    base_url: str = "/"
    max_sessions: int = 20
    idle_timeout: float = 1200
    ready: int = 1
    hub: bool = False
    preload: tuple[str, ...] = ("prunescope.explorer", "voila.utils")

"""The parent of the kernels: it loads what they all need once, and forks.

A forked kernel shares the memory of everything loaded before, and starts in a tenth of the time. The parent
(``python -m prunescope.serving.warm FD FOLDER MODULE...``) has one thread, no event loop, and no socket but
the one for the server's requests. It ends when the server does, and its kernels with it.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import random
import shutil
import signal
import socket
import sys
from collections.abc import Sequence
from typing import Any

PR_SET_PDEATHSIG = 1


def main(descriptor: int, folder: str, modules: Sequence[str]) -> None:
    """Load ``modules``, then fork a kernel for each line that comes over the socket ``descriptor``.

    A line is a JSON object with ``argv`` of the kernel's application, ``env`` and ``cwd``. The response is
    the kernel's process id, on a line. ``folder``, which holds uploads, is removed if the server is killed
    and cannot do it.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # Avoid zombies when kernels end.
    for name in ("ipykernel.kernelapp", "ipykernel.ipkernel", "ipykernel.zmqshell", *modules):
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # The collector would write to shared memory pages, and so copy them.
    parent = os.getpid()
    with socket.socket(fileno=descriptor) as server, server.makefile("rwb") as lines:
        for line in lines:  # noqa: B007 (it is the child that uses it)
            pid = os.fork()
            if pid == 0:
                break
            lines.write(b"%d\n" % pid)
            lines.flush()
        else:
            shutil.rmtree(folder, ignore_errors=True)
            return
        os.close(server.detach())
    _end_with(parent)
    become_kernel(**json.loads(line))


def _end_with(parent: int) -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def become_kernel(argv: list[str], env: dict[str, str], cwd: str) -> None:
    """Run a kernel in this process, which has just been forked."""
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.environ.clear()
    os.environ.update(env, JPY_PARENT_PID=str(os.getppid()))
    os.chdir(cwd)
    _expect_to_be_ended_first()
    _forget_seeds()
    sys.argv = ["ipykernel_launcher", *argv]
    from ipykernel.kernelapp import IPKernelApp

    kernel = IPKernelApp.instance()
    # It would print the kernel's full id, and how to connect to it.
    kernel.log_connection_info = lambda: None  # type: ignore[method-assign]
    kernel.initialize(argv)  # type: ignore[no-untyped-call]
    widgets: Any = sys.modules.get("ipywidgets")
    if widgets is not None:  # It was imported before there was a kernel to register with.
        widgets.register_comm_target()
    kernel.start()  # type: ignore[no-untyped-call]


def _expect_to_be_ended_first() -> None:
    """Make the kernel, rather than the parent, the first to be killed when memory runs out."""
    with open("/proc/self/oom_score_adj", "w") as file:
        file.write("500")


def _forget_seeds() -> None:
    random.seed()
    numpy: Any = sys.modules.get("numpy")
    if numpy is not None:
        numpy.random.seed()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3:])

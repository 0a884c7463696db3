"""Kernels forked from a process that has loaded torch, matplotlib and the explorer before a visitor comes."""

from __future__ import annotations

import asyncio
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.provisioning.factory import KernelProvisionerFactory
from jupyter_client.provisioning.local_provisioner import LocalProvisioner

from prunescope.serving.sessions import log

SECRET = "JUPYTERHUB_"
"""How the names begin of what lets a server speak for its user, and is kept from kernels."""


END_S = 5.0
"""How long to wait for processes that have been killed: a busy machine takes a while to bury them."""


def can_fork() -> bool:
    """Return whether this system can: forking a process that has loaded frameworks is safe on Linux only."""
    return sys.platform == "linux" and hasattr(os, "pidfd_open")


class WarmParent:
    """The process that forks the kernels, see `prunescope.serving.warm`; it is started again should it end.

    Args:
        modules: What it loads before the first kernel is asked for.
        folder: Its working directory, which it removes if this process is killed.
    """

    def __init__(self, modules: Sequence[str], folder: str) -> None:
        self._modules = modules
        self._folder = folder
        self._one_at_a_time = threading.Lock()
        self._ended = False
        self._start()

    def _start(self) -> None:
        self._socket, theirs = socket.socketpair()
        # The parent and all that it forks hold the other end of it, and never write: it ends with the last.
        ends, lives = os.pipe()
        self._all_ended = open(ends, "rb", buffering=0)  # noqa: SIM115 (it stays open)
        with theirs, open(lives, "wb"):
            number = theirs.fileno()
            program = [sys.executable, "-P", "-m", "prunescope.serving.warm"]
            self._process = subprocess.Popen(
                [*program, str(number), self._folder, *self._modules],
                cwd=self._folder,
                # A kernel can read what its parent was started with.
                env={name: value for name, value in os.environ.items() if not name.startswith(SECRET)},
                stdin=subprocess.DEVNULL,
                pass_fds=[number, lives],
                start_new_session=True,
            )

    def _start_again(self) -> None:
        log.error("the parent of the kernels has ended, and is started again")
        self._process.kill()  # Before its line is closed, which would tell it that this process was killed.
        self._process.wait()
        self._socket.close()
        self._all_ended.close()
        self._start()
        if self._ended:  # Meanwhile, and it was the last parent that was ended.
            self._process.kill()

    def fork(self, argv: list[str], env: dict[str, str], cwd: str) -> int:
        """Return the process id of a new kernel; waits while the modules are being loaded.

        Raises:
            RuntimeError: The parent was ended, or cannot load the modules.
        """
        line = json.dumps({"argv": argv, "env": env, "cwd": cwd}).encode() + b"\n"
        with self._one_at_a_time:
            answer = self._ask(line)
            if not answer and not self._ended:
                self._start_again()
                answer = self._ask(line)
        if not answer:
            raise RuntimeError("no kernel can be started")
        return int(answer)

    def _ask(self, line: bytes) -> bytes:
        try:
            self._socket.sendall(line)
            with self._socket.makefile("rb") as answers:
                return answers.readline()
        except OSError:
            return b""

    def end(self) -> None:
        """End it, and with it every kernel; return when they are gone, or after `END_S`."""
        self._ended = True
        self._process.kill()
        with self._one_at_a_time:  # Nobody is just starting it again.
            self._process.wait()
            if not self._all_ended.closed:
                select.select([self._all_ended], [], [], END_S)
            self._all_ended.close()
            self._socket.close()


class _Child:
    """What `LocalProvisioner` asks of a ``subprocess.Popen``, for the child of another process."""

    stdin = stdout = stderr = None

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._descriptor = os.pidfd_open(pid)

    def poll(self) -> int | None:
        """Return None while it runs; nobody knows its exit code."""
        if self.returncode is None and select.select([self._descriptor], [], [], 0)[0]:
            os.close(self._descriptor)
            self.returncode = 1
        return self.returncode

    def wait(self) -> int | None:
        """Return when it has ended."""
        if self.poll() is None:
            select.select([self._descriptor], [], [])
        return self.poll()

    def send_signal(self, number: int) -> None:
        """Send it a signal, if it still runs."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._descriptor, number)

    def kill(self) -> None:
        """End it."""
        self.send_signal(signal.SIGKILL)


class Forked(LocalProvisioner):
    """Starts a kernel by a fork."""

    process: Any
    warm: WarmParent

    async def launch_kernel(self, cmd: list[str], **words: Any) -> KernelConnectionInfo:
        """Start the kernel that ``cmd``, a command line of ipykernel's launcher, would start."""
        argv = cmd[cmd.index("-f") :]
        pid = await asyncio.to_thread(self.warm.fork, argv, words["env"], str(words["cwd"]))
        self.process = _Child(pid)
        self.pid = self.pgid = pid
        self.cwd = words["cwd"]
        return self.connection_info


class Forks(KernelProvisionerFactory):
    """Has every kernel of this process started by a fork."""

    warm: WarmParent

    def create_provisioner_instance(self, kernel_id: str, kernel_spec: Any, parent: Any) -> Forked:
        """Return what starts and ends the kernel."""
        provisioner = Forked(kernel_id=kernel_id, kernel_spec=kernel_spec, parent=parent)
        provisioner.warm = self.warm
        return provisioner

"""Kernels forked from a process that has already loaded torch, matplotlib and the explorer."""

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
"""Prefix of environment variables with the hub's credentials, which kernels must not see."""


END_S = 5.0
"""How long to wait for killed processes to end, in seconds; on a busy machine it takes a while."""


def can_fork() -> bool:
    """Return whether kernels can be forked; with loaded frameworks, that is safe only on Linux."""
    return sys.platform == "linux" and hasattr(os, "pidfd_open")


class WarmParent:
    """The process that forks the kernels, see `prunescope.serving.warm`; it is restarted if it dies.

    Args:
        modules: Modules that it loads before the first kernel is requested.
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
        # The parent and its forks hold the write end and never write: end of file means that all have ended.
        ends, lives = os.pipe()
        self._all_ended = open(ends, "rb", buffering=0)  # noqa: SIM115 (it stays open)
        with theirs, open(lives, "wb"):
            number = theirs.fileno()
            program = [sys.executable, "-P", "-m", "prunescope.serving.warm"]
            self._process = subprocess.Popen(
                [*program, str(number), self._folder, *self._modules],
                cwd=self._folder,
                # A kernel can read its parent's initial environment.
                env={name: value for name, value in os.environ.items() if not name.startswith(SECRET)},
                stdin=subprocess.DEVNULL,
                pass_fds=[number, lives],
                start_new_session=True,
            )

    def _start_again(self) -> None:
        log.error("the parent of the kernels has ended, and is started again")
        self._process.kill()  # Before its socket is closed, which would mean that this process was killed.
        self._process.wait()
        self._socket.close()
        self._all_ended.close()
        self._start()
        if self._ended:  # `end` was called meanwhile and killed the old one.
            self._process.kill()

    def fork(self, argv: list[str], env: dict[str, str], cwd: str) -> int:
        """Fork a new kernel and return its process id; waits while the modules are being loaded.

        Raises:
            RuntimeError: The parent has ended, or cannot load the modules.
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
        """Kill it and every kernel; return when they have ended, or after `END_S`."""
        self._ended = True
        self._process.kill()
        with self._one_at_a_time:  # Not while it is being restarted.
            self._process.wait()
            if not self._all_ended.closed:
                select.select([self._all_ended], [], [], END_S)
            self._all_ended.close()
            self._socket.close()


class _Child:
    """The part of ``subprocess.Popen`` that `LocalProvisioner` uses, for a child of another process."""

    stdin = stdout = stderr = None

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._descriptor = os.pidfd_open(pid)

    def poll(self) -> int | None:
        """Return None while it runs, then 1: its real exit code is not known."""
        if self.returncode is None and select.select([self._descriptor], [], [], 0)[0]:
            os.close(self._descriptor)
            self.returncode = 1
        return self.returncode

    def wait(self) -> int | None:
        """Wait until it has ended."""
        if self.poll() is None:
            select.select([self._descriptor], [], [])
        return self.poll()

    def send_signal(self, number: int) -> None:
        """Send it a signal, if it still runs."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._descriptor, number)

    def kill(self) -> None:
        """Kill it."""
        self.send_signal(signal.SIGKILL)


class Forked(LocalProvisioner):
    """Start kernels by forking."""

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
    """Make every kernel of this process start by forking."""

    warm: WarmParent

    def create_provisioner_instance(self, kernel_id: str, kernel_spec: Any, parent: Any) -> Forked:
        """Return the provisioner that starts and ends the kernel."""
        provisioner = Forked(kernel_id=kernel_id, kernel_spec=kernel_spec, parent=parent)
        provisioner.warm = self.warm
        return provisioner

"""What stands in the server's log."""

import subprocess
import sys

LATE = """
import asyncio, logging, zmq
from tornado.ioloop import IOLoop
from zmq.eventloop.zmqstream import ZMQStream
from prunescope.serving.logs import log_to_stderr


async def main():
    kernel, server = (context.socket(zmq.PAIR) for _ in range(2))
    kernel.bind("inproc://line")
    server.connect("inproc://line")
    stream = ZMQStream(server, IOLoop.current())
    kernel.send(b"one more")
    stream.on_recv(print)
    stream.close()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    kernel.close()
    logging.getLogger("tornado.general").warning("something else")


log_to_stderr()
with zmq.Context() as context:
    asyncio.run(main())
"""


def test_a_message_that_comes_after_the_end_of_a_session_is_no_news() -> None:
    ran = subprocess.run([sys.executable, "-c", LATE], capture_output=True, text=True, check=True)
    (line,) = ran.stderr.splitlines()
    assert line.endswith(" something else")
    assert not ran.stdout

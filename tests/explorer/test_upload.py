"""Uploading a checkpoint in parts: its limit, its folder, hostile pages and hostile files."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from prunescope import Explorer
from prunescope.core.environment import MAX_UPLOAD_VARIABLE, UPLOADS_VARIABLE
from prunescope.explorer import dashboard
from prunescope.explorer.closing import close_tree
from prunescope.explorer.panels.upload import Upload
from tests.support.checkpoint_files import Payload, safetensors_file, torch_file


class PageOf:
    """Stands in for the page: answers each demand for a part, and keeps what it is told."""

    def __init__(self, upload: Upload, content: bytes) -> None:
        self.upload, self.content, self.said = upload, content, []
        upload.send = self.receive

    def tell(self, **message: Any) -> None:
        buffers = [message.pop("part")] if "part" in message else []
        self.upload._handle_custom_msg(message, buffers)

    def receive(self, message: dict[str, Any]) -> None:
        self.said.append(message)
        if message["type"] == "next":
            place = message["place"]
            self.tell(type="part", place=place, part=memoryview(self.content)[place : place + 1000])

    def send(self, name: str) -> dict[str, Any]:
        self.tell(type="begin", name=name, size=len(self.content))
        return self.said[-1]


@pytest.fixture
def uploads(tmp_path: Path) -> Path:
    folder = tmp_path / "uploads"
    folder.mkdir(mode=0o700)
    return folder


@pytest.fixture
def explorer(uploads: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Explorer]:
    monkeypatch.setenv(UPLOADS_VARIABLE, str(uploads))
    monkeypatch.setenv(MAX_UPLOAD_VARIABLE, "3000")
    explorer = dashboard()
    yield explorer
    explorer.close()
    assert list(uploads.iterdir()) == []


def test_an_upload_is_another_model(explorer: Explorer, uploads: Path, tmp_path: Path) -> None:
    sent = safetensors_file(tmp_path)
    told = PageOf(explorer.screen.upload, sent.read_bytes()).send("my model.safetensors")
    assert told == {
        "type": "end",
        "text": "my_model.safetensors is uploaded and listed among the models.",
        "problem": False,
    }
    assert explorer.model == "upload/1/my_model.safetensors"
    assert explorer.layer == "conv.weight"
    assert explorer.screen.controls.model.options[-1] == ("my_model.safetensors", explorer.model)
    assert explorer.screen.controls.model.value == explorer.model
    (kept,) = uploads.rglob("*.safetensors")
    assert kept.read_bytes() == sent.read_bytes()
    assert kept.parent.stat().st_mode & 0o077 == 0
    explorer.apply()
    explorer.model = "mlp"
    assert explorer.screen.controls.model.value == "mlp"


def test_the_limit_is_said_and_holds_for_all_uploads_together(
    explorer: Explorer, uploads: Path, tmp_path: Path
) -> None:
    content = safetensors_file(tmp_path).read_bytes()
    page = PageOf(explorer.screen.upload, content)
    page.send("a.safetensors")
    assert 3000 / 2 < len(content) < 3000
    told = page.send("b.safetensors")
    assert told["problem"]
    assert told["text"].startswith(
        "`upload` may be at most 0.003 MB, 0.0019 MB of which earlier uploads use, and"
    )
    assert told["text"].endswith("open it with `prunescope FILE`, or in a notebook with `explore(FILE)`.")
    assert explorer.model == "upload/1/a.safetensors"
    assert len(list(uploads.iterdir())) == 1


def test_a_hostile_file_gets_its_sentence_and_goes(explorer: Explorer, uploads: Path, tmp_path: Path) -> None:
    mark, shown = tmp_path / "ran", explorer.snapshot
    bad = torch_file(tmp_path, {"w": Payload(mark)}).read_bytes()
    told = PageOf(explorer.screen.upload, bad).send("evil.pt")
    assert told["problem"]
    assert "loading that could run code, so it was refused and nothing was run" in told["text"]
    assert not mark.exists()
    assert list(uploads.iterdir()) == []
    assert explorer.snapshot is shown
    assert "upload/1/evil.pt" not in explorer.state.catalogue.entries
    assert (
        PageOf(explorer.screen.upload, b"no archive")
        .send("x.pt")["text"]
        .endswith("it is not a zip archive.")
    )


@pytest.mark.parametrize(
    ("name", "size", "sentence"),
    [
        (
            "model.zip",
            9,
            ".safetensors, .pt, .pth, .bin, .ckpt, .pth.tar, got 'model.zip'.",
        ),
        (None, 9, "got 'None'."),
        ("a.pt", 0, "`upload` must not be empty, and a.pt is."),
        ("a.pt", "9", "`upload` must not be empty, and a.pt is."),
        ("a.pt", 3001, "`upload` may be at most 0.003 MB, and a.pt has 0.003001 MB: open it"),
    ],
)
def test_what_is_not_taken_gets_a_sentence(explorer: Explorer, name: Any, size: Any, sentence: str) -> None:
    page = PageOf(explorer.screen.upload, b"")
    page.tell(type="begin", name=name, size=size)
    assert sentence in page.said[-1]["text"]


def test_a_page_cannot_write_more_than_it_said_or_elsewhere(uploads: Path, tmp_path: Path) -> None:
    upload = Upload(uploads, 100, (".pt",), lambda path: None, threading.RLock())
    page = PageOf(upload, b"")
    page.receive = upload.send = page.said.append
    for hostile in (
        {"place": 0, "part": b"x" * 11},
        {"place": 5, "part": b"x"},
        {"place": None, "part": b"x"},
        {"place": 0, "part": b""},
    ):
        page.tell(type="begin", name="../../../a.pt", size=10)
        assert page.said[-1] == {"type": "next", "place": 0}
        assert [path.name for path in uploads.rglob("*.pt")] == ["a.pt"]
        page.tell(type="part", **hostile)
        assert page.said[-1]["text"] == "`upload` arrived out of order: try again."
        assert list(uploads.iterdir()) == []
    said = len(page.said)
    page.tell(type="part", place=0, part=b"x")
    page.tell(type="cancel")
    page.tell(type="nonsense")
    page.tell()
    assert len(page.said) == said
    page.tell(type="begin", name="b.pt", size=10)
    page.tell(type="cancel")
    assert list(uploads.iterdir()) == []
    close_tree(upload)


def test_a_disk_that_is_full_gets_a_sentence(uploads: Path) -> None:
    upload = Upload(uploads / "gone", 100, (".pt",), lambda path: None, threading.RLock())
    page = PageOf(upload, b"x")
    assert page.send("a.pt")["text"] == "`upload` could not be stored: No such file or directory."
    close_tree(upload)


def test_where_no_server_offers_a_folder_there_is_no_upload(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(UPLOADS_VARIABLE, raising=False)
    explorer = dashboard()
    assert explorer.screen.upload is None
    explorer.close()

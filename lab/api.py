"""A few words of HTTP to a lab's API, with nothing but the standard library. The wire format is PVC's API v1."""

from __future__ import annotations

import http.client
import json
import shutil
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab import LabError

AGAIN_AFTER_S = (0.5, 1.0, 2.0)
QUICK_S = 5.0
"""Who was silent for longer than this hangs; that is told at once."""

Words = Mapping[str, str | int | Sequence[str]]


class ApiError(LabError):
    """The API answered, but not with success."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Api:
    """The API at `url` (ends in /api/v1), spoken to with `key`."""

    url: str
    key: str

    def get(self, path: str, **words: str | int) -> Any:
        """Asked again when the connection goes: on a busy machine the primary may move any time and its API with it."""
        for pause_s in AGAIN_AFTER_S:
            began_s = time.monotonic()
            try:
                return self.call("GET", path, words)
            except ApiError:
                raise
            except LabError:
                if time.monotonic() - began_s > QUICK_S:
                    raise
            time.sleep(pause_s)
        return self.call("GET", path, words)

    def post(self, path: str, **words: str | int | Sequence[str]) -> Any:
        return self.call("POST", path, words)

    def delete(self, path: str, **words: str | int) -> Any:
        return self.call("DELETE", path, words)

    def call(self, method: str, path: str, words: Words, *, form: Words | None = None, deadline_s: float = 60.0) -> Any:
        """Ask with `words` in the query and `form` in the body; a long job (202) is waited for. Raises ApiError,
        LabError.
        """
        body = urllib.parse.urlencode(form, doseq=True).encode() if form is not None else None
        request = urllib.request.Request(self._url(path, words), data=body, method=method, headers=self._headers())
        try:
            with urllib.request.urlopen(request, timeout=deadline_s) as answer:
                status, content = answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            raise ApiError(f"{method} {path}: {_message(error.read())}", error.code) from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise LabError(
                f"{method} {self.url}{path}: no usable answer ({error}); see script/lab status and logs"
            ) from None
        return self._finished(content, deadline_s) if status == 202 else content

    def upload(self, path: str, file: Path, **words: str | int) -> Any:
        """Send `file` as the one part of a multipart form, without holding it in memory."""
        boundary = uuid.uuid4().hex
        head = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{file.name}"\r\n'
            f"Content-Type: application/octet-stream\r\n\r\n"
        ).encode()
        tail = f"\r\n--{boundary}--\r\n".encode()
        where = urllib.parse.urlsplit(self._url(path, words))
        line = http.client.HTTPConnection(where.netloc, timeout=300)
        try:
            line.putrequest("POST", f"{where.path}?{where.query}")
            for name, value in self._headers().items():
                line.putheader(name, value)
            line.putheader("Content-Type", f"multipart/form-data; boundary={boundary}")
            line.putheader("Content-Length", str(len(head) + file.stat().st_size + len(tail)))
            line.endheaders(head)
            with file.open("rb") as source:
                shutil.copyfileobj(source, _Sender(line), 1 << 20)
            line.send(tail)
            answer = line.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise LabError(f"uploading {file.name} broke off: {error}; see script/lab logs") from None
        finally:
            line.close()
        if answer.status >= 300:
            raise ApiError(f"uploading {file.name}: {_message(content)}", answer.status)
        return self._finished(json.loads(content), 300) if answer.status == 202 else json.loads(content)

    def follow(self, path: str, *, deadline_s: float, **words: str | int) -> Iterator[str]:
        """Yield what comes of an answer that goes on. Raises ApiError; LabError after `deadline_s` without any."""
        request = urllib.request.Request(self._url(path, words), headers=self._headers())
        try:
            with urllib.request.urlopen(request, timeout=deadline_s) as answer:
                while piece := answer.read1(65536):
                    yield piece.decode(errors="replace")
        except urllib.error.HTTPError as error:
            raise ApiError(f"GET {path}: {_message(error.read())}", error.code) from None
        except (OSError, http.client.HTTPException) as error:
            raise LabError(f"GET {self.url}{path} broke off: {error}; see script/lab status and logs") from None

    def answers(self) -> bool:
        """True when the API is there and ready."""
        try:
            self.call("GET", "/", {}, deadline_s=5)
        except LabError:
            return False
        return True

    def _finished(self, task: Mapping[str, Any], deadline_s: float) -> Any:
        """Wait for the task; return its result. Raises LabError with its sentence where it fails."""
        end = time.monotonic() + deadline_s
        while True:
            now = self.get(f"/tasks/{task['task_id']}")
            if now["state"] == "SUCCESS":
                return now.get("result")
            if now["state"] == "FAILURE":
                raise ApiError(f"{task.get('task_name', 'the task')} failed: {now['status']}", 500)
            if time.monotonic() > end:
                raise LabError(
                    f"{task.get('task_name', 'the task')} is not done after {deadline_s:.0f} s: {now['status']}"
                )
            time.sleep(0.2)

    def _url(self, path: str, words: Words) -> str:
        query = urllib.parse.urlencode(words, doseq=True)
        return f"{self.url}{path}{'?' + query if query else ''}"

    def _headers(self) -> dict[str, str]:
        return {"X-Api-Key": self.key} if self.key else {}


class _Sender:
    def __init__(self, line: http.client.HTTPConnection) -> None:
        self._line = line

    def write(self, data: bytes) -> None:
        self._line.send(data)


def _message(body: bytes) -> str:
    try:
        answer = json.loads(body)
        help_text = f" ({answer['help']})" if answer.get("help") else ""
        return f"{answer['message']}{help_text}"
    except (ValueError, KeyError, TypeError, AttributeError):
        return body.decode(errors="replace")[:500] or "an empty answer"

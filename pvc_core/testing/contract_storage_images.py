# SPDX-License-Identifier: LGPL-3.0-or-later
"""The part of contract_storage.py about images: uploads in every format, exports, and images that want other files."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from pvc_core.contracts.storage import Upload
from pvc_core.errors import NotFound, PvcError, Refused
from pvc_core.model.storage import Volume
from pvc_core.testing.storage_rig import pattern
from pvc_core.testing.storage_user import StorageUser

about = pytest.mark.pvc_capability
_FORMATS = ("raw", "qcow2", "vmdk", "vdi", "vpc", "qed")


class ImageQuestions:
    """Mixed into StorageContract, which gives `user`."""

    @about("upload")
    def test_what_was_uploaded_is_exported(self, user: StorageUser) -> None:
        volume = user.make("a")
        image = pattern(1, volume.size_bytes // 2) + bytes(volume.size_bytes // 4) + pattern(2, volume.size_bytes // 4)
        user.upload(volume, image)
        assert user.read(volume) == image
        assert user.found()[0].size_bytes == volume.size_bytes

    @about("upload")
    def test_behind_a_smaller_image_are_zeros(self, user: StorageUser) -> None:
        volume = user.make("a")
        user.fill(volume, seed=1)
        image = pattern(2, 123_457)
        user.upload(volume, image)
        assert user.read(volume) == image + bytes(volume.size_bytes - len(image))

    @about("upload")
    def test_nothing_is_visible_before_commit_or_after_abort(self, user: StorageUser) -> None:
        volume = user.make("a")
        old = user.fill(volume, seed=1)
        upload = _begun(user, volume)
        assert user.read(volume) == old and user.listed() == {"a": volume.id}
        for _again in range(10):
            upload.abort()
        assert user.read(volume) == old
        with pytest.raises(PvcError):
            upload.write(b"more")
        with pytest.raises(PvcError):
            upload.commit(lambda *_: None)

    @about("upload")
    @pytest.mark.parametrize("fault", ["too much", "too little", "larger than the volume", "more than announced"])
    def test_a_wrong_length_is_refused_and_the_content_kept(self, user: StorageUser, fault: str) -> None:
        volume = user.make("a")
        old = user.fill(volume, seed=1)
        size = volume.size_bytes
        announced = {
            "too much": None,
            "too little": size,
            "larger than the volume": size + 1,
            "more than announced": 10,
        }
        sent = {
            "too much": size + 1,
            "too little": size - 1,
            "larger than the volume": size + 1,
            "more than announced": 11,
        }
        with pytest.raises(Refused):
            upload = user.driver.begin_upload(user.pool, volume, image_format="raw", size_bytes=announced[fault])
            try:
                upload.write(bytes(sent[fault]))
                upload.commit(lambda *_: None)
            finally:
                upload.abort()
        assert user.read(volume) == old

    @about("upload")
    def test_an_image_needs_a_volume(self, user: StorageUser) -> None:
        with pytest.raises(NotFound):
            user.upload(user.volume("ghost"), b"data")
        with pytest.raises(NotFound):
            user.read(user.volume("ghost"))
        assert user.listed() == {}

    @about("export")
    def test_exports_say_no_at_once_to_a_missing_snapshot(self, user: StorageUser) -> None:
        volume = user.make("a")
        with pytest.raises((NotFound, Refused)):
            user.read(volume, snapshot="ghost")

    @about("upload formats")
    @pytest.mark.parametrize("image_format", _FORMATS)
    def test_images_of_each_format(self, user: StorageUser, tmp_path: Path, image_format: str) -> None:
        volume = user.make("a", units=8)
        if image_format not in user.can.upload_formats:
            with pytest.raises(Refused):
                user.upload(volume, b"data", image_format=image_format)
            return
        data = pattern(1, volume.size_bytes // 2)
        user.upload(volume, _image(tmp_path, image_format, data), image_format=image_format)
        assert user.read(volume) == data + bytes(volume.size_bytes - len(data))

    @about("upload formats")
    @pytest.mark.parametrize("image_format", _FORMATS[1:])
    def test_an_image_that_is_not_what_it_is_said_to_be(self, user: StorageUser, image_format: str) -> None:
        volume = user.make("a")
        old = user.fill(volume, seed=1)
        with pytest.raises(Refused):
            user.upload(volume, pattern(5, 200_000), image_format=image_format)
        assert user.read(volume) == old

    @about("upload formats")
    @pytest.mark.parametrize("image_format", _FORMATS[1:])
    def test_an_image_that_was_cut_off(self, user: StorageUser, tmp_path: Path, image_format: str) -> None:
        """Half a file is announced as such: nothing but the image itself knows that the rest is missing."""
        _needs(user, image_format)
        volume = user.make("a", units=8)
        old = user.fill(volume, seed=1)
        image = _image(tmp_path, image_format, pattern(2, volume.size_bytes // 2))
        with pytest.raises(Refused):
            user.upload(volume, image[: len(image) // 2], image_format=image_format)
        assert user.read(volume) == old

    @about("upload formats")
    @pytest.mark.parametrize("image_format", _FORMATS[1:])
    def test_an_image_that_is_said_to_be_raw(self, user: StorageUser, tmp_path: Path, image_format: str) -> None:
        """A slip: a guest would find no disk in it."""
        _needs(user, image_format)
        volume = user.make("a", units=8)
        with pytest.raises(Refused, match=image_format):
            user.upload(volume, _image(tmp_path, image_format, pattern(1, volume.size_bytes // 4)))

    @about("upload formats")
    def test_an_image_that_does_not_fit(self, user: StorageUser, tmp_path: Path) -> None:
        _needs(user, "qcow2")
        volume = user.make("a")
        with pytest.raises(Refused):
            user.upload(volume, _image(tmp_path, "qcow2", bytes(2 * volume.size_bytes)), image_format="qcow2")
        assert not any(user.read(volume))

    @about("upload formats")
    @pytest.mark.parametrize("trick", ["backing file", "data file", "vmdk descriptor", "vmdk extents"])
    def test_an_image_never_reads_other_files(self, user: StorageUser, tmp_path: Path, trick: str) -> None:
        """Whoever uploads an image that names a file of the node must not get that file's content."""
        image_format = "vmdk" if trick.startswith("vmdk") else "qcow2"
        _needs(user, image_format)
        secret = tmp_path / "secret"
        secret.write_bytes(b"the node's own secret" + bytes(1024**2))
        volume = user.make("a", units=8)
        with pytest.raises(Refused):
            user.upload(volume, _TRICKS[trick](tmp_path, secret), image_format=image_format)
        assert not any(user.read(volume))


def _begun(user: StorageUser, volume: Volume) -> Upload:
    upload = user.driver.begin_upload(user.pool, volume, image_format="raw", size_bytes=volume.size_bytes)
    upload.write(pattern(7, volume.size_bytes // 2))
    return upload


def _needs(user: StorageUser, image_format: str) -> None:
    if image_format not in user.can.upload_formats:
        pytest.skip(f"upload format {image_format} is not declared")


def _image(tmp_path: Path, image_format: str, data: bytes) -> bytes:
    if image_format == "raw":
        return data
    raw, image = tmp_path / "raw", tmp_path / f"image.{image_format}"
    raw.write_bytes(data)
    _qemu_img("convert", "-f", "raw", "-O", image_format, *_exact(image_format), str(raw), str(image))
    return image.read_bytes()


def _exact(image_format: str) -> list[str]:
    """Without it a vpc image is rounded up to what a disk of cylinders and heads can have."""
    return ["-o", "force_size=on"] if image_format == "vpc" else []


def _backing_file(tmp_path: Path, secret: Path) -> bytes:
    image = tmp_path / "tricky.qcow2"
    _qemu_img("create", "-f", "qcow2", "-F", "raw", "-b", str(secret), str(image))
    return image.read_bytes()


def _data_file(tmp_path: Path, secret: Path) -> bytes:
    image, data = tmp_path / "tricky.qcow2", tmp_path / "data"
    _qemu_img("create", "-f", "qcow2", "-o", f"data_file={data},data_file_raw=on", str(image), "1M")
    return image.read_bytes()


def _vmdk_descriptor(_tmp_path: Path, secret: Path) -> bytes:
    return (
        '# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\ncreateType="monolithicFlat"\n\n'
        f'# Extent description\nRW 2048 FLAT "{secret}" 0\n\n# The Disk Data Base\n'
        'ddb.virtualHWVersion = "4"\nddb.geometry.cylinders = "2"\nddb.geometry.heads = "16"\n'
        'ddb.geometry.sectors = "63"\nddb.adapterType = "ide"\n'
    ).encode()


def _vmdk_extents(tmp_path: Path, secret: Path) -> bytes:
    """A sparse header without capacity, behind which QEMU looks for a descriptor."""
    header = bytearray(512)
    header[0:4] = b"KDMV"
    header[4:8] = (1).to_bytes(4, "little")
    header[28:36] = (1).to_bytes(8, "little")  # the descriptor begins at sector 1 ...
    header[36:44] = (20).to_bytes(8, "little")  # ... and has 20 sectors
    return bytes(header) + _vmdk_descriptor(tmp_path, secret).ljust(20 * 512, b"\0")


_TRICKS = {
    "backing file": _backing_file,
    "data file": _data_file,
    "vmdk descriptor": _vmdk_descriptor,
    "vmdk extents": _vmdk_extents,
}


def _qemu_img(*argv: str) -> None:
    if not shutil.which("qemu-img"):
        pytest.skip("qemu-img is not installed")
    subprocess.run(["qemu-img", *argv], check=True, capture_output=True)

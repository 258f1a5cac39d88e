# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The remote end of QEMU's proxy device, spoken to as QEMU does, over a socket pair."""

from __future__ import annotations

import array
import os
import socket
import struct
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.lab.machines.gpu_device import Bar, Command, ConfigSpace, Function, GpuDevice, ProtocolError
from tests.lab.machines.profiles import A10, PROFILES, RTX_A6000, RTX_A6000_AUDIO

HEADER = struct.Struct("=i4xQ")


class Qemu:
    """The other side of the socket."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection

    def send(self, command: int, payload: bytes = b"", fds: tuple[int, ...] = ()) -> None:
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        self.connection.sendmsg([HEADER.pack(command, len(payload)) + payload], ancillary)

    def reply(self) -> int:
        answer = self.connection.recv(24, socket.MSG_WAITALL)
        command, size = HEADER.unpack(answer[:16])
        assert (command, size, len(answer)) == (Command.RETURN, 8, 24)
        value: int = struct.unpack("=Q", answer[16:])[0]
        return value

    def read(self, address: int, length: int) -> int:
        self.send(Command.CONFIG_READ, struct.pack("=IIi", address, 0, length))
        return self.reply()

    def write(self, address: int, value: int, length: int) -> int:
        self.send(Command.CONFIG_WRITE, struct.pack("=IIi", address, value, length))
        return self.reply()


@pytest.fixture
def qemu() -> Iterator[Qemu]:
    here, there = socket.socketpair()
    device = GpuDevice(there, A10)
    thread = threading.Thread(target=device.serve, daemon=True)
    thread.start()
    here.settimeout(5)
    yield Qemu(here)
    here.close()
    thread.join(5)
    assert not thread.is_alive(), "the device did not notice that QEMU is gone"


def test_identity(qemu: Qemu) -> None:
    assert qemu.read(0x00, 4) == 0x223610DE
    assert qemu.read(0x2C, 2) == 0x10DE
    assert qemu.read(0x2E, 2) == 0x1482
    assert qemu.read(0x08, 4) == 0x030200A1
    assert qemu.read(0x0E, 1) == 0


def test_identity_cannot_be_written(qemu: Qemu) -> None:
    assert qemu.write(0x00, 0xFFFFFFFF, 4) == 0
    assert qemu.write(0x2C, 0, 4) == 0
    assert qemu.read(0x00, 4) == 0x223610DE
    assert qemu.read(0x2C, 4) == 0x148210DE


def test_bar_sizing_and_assignment(qemu: Qemu) -> None:
    qemu.write(0x10, 0xFFFFFFFF, 4)
    assert qemu.read(0x10, 4) == 0xFF000000  # 16 MiB, not prefetchable
    qemu.write(0x14, 0xFFFFFFFF, 4)
    assert qemu.read(0x14, 4) == 0xFC000008  # 64 MiB, prefetchable
    qemu.write(0x10, 0xFD123456, 4)
    assert qemu.read(0x10, 4) == 0xFD000000
    for absent in (0x18, 0x1C, 0x20, 0x24, 0x28, 0x30):
        qemu.write(absent, 0xFFFFFFFF, 4)
        assert qemu.read(absent, 4) == 0, f"offset {absent:#x} is no BAR"


def test_command_register_by_bytes(qemu: Qemu) -> None:
    qemu.write(0x04, 0x06, 1)
    assert qemu.read(0x04, 2) == 0x0006
    qemu.write(0x05, 0x04, 1)
    assert qemu.read(0x04, 2) == 0x0406
    qemu.write(0x3C, 0x0A, 1)
    assert qemu.read(0x3C, 2) == 0x010A  # the interrupt pin beside it is read-only


def test_capability_list(qemu: Qemu) -> None:
    assert qemu.read(0x06, 2) & 0x10
    found, at = [], qemu.read(0x34, 1)
    while at:
        found.append(qemu.read(at, 1))
        at = qemu.read(at + 1, 1)
    assert found == [0x01, 0x10]
    qemu.write(0x44, 0x0003, 2)
    assert qemu.read(0x44, 2) == 0x000B  # D3hot is accepted, no-soft-reset stays


def test_reset_undoes_what_the_guest_wrote(qemu: Qemu) -> None:
    qemu.write(0x10, 0xFD000000, 4)
    qemu.write(0x04, 0x0002, 2)
    qemu.send(Command.DEVICE_RESET)
    assert qemu.reply() == 0
    assert qemu.read(0x10, 4) == 0
    assert qemu.read(0x04, 2) == 0


def test_bar_access_reads_zero(qemu: Qemu) -> None:
    qemu.send(Command.BAR_WRITE, struct.pack("=QQI?", 0x100, 0xDEAD, 4, True))
    assert qemu.reply() == 0
    qemu.send(Command.BAR_READ, struct.pack("=QQI?", 0x100, 0, 4, True))
    assert qemu.reply() == 0


def test_outside_of_configuration_space(qemu: Qemu) -> None:
    assert qemu.read(0x100, 4) == 0xFFFFFFFF
    assert qemu.read(0xFE, 4) == 0xFFFFFFFF
    qemu.write(0x100, 0, 4)
    assert qemu.read(0x00, 4) == 0x223610DE


def test_descriptors_are_closed_and_not_answered(qemu: Qemu) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        reading, writing = os.pipe()
        qemu.send(Command.SYNC_SYSMEM, bytes(64), (reading, writing))
        os.close(reading)
        os.close(writing)
    assert qemu.read(0x00, 2) == 0x10DE
    assert len(os.listdir("/proc/self/fd")) == before


def test_message_in_pieces(qemu: Qemu) -> None:
    whole = HEADER.pack(Command.CONFIG_READ, 12) + struct.pack("=IIi", 2, 0, 2)
    for byte in whole:
        qemu.connection.sendall(bytes([byte]))
    assert qemu.reply() == 0x2236


@pytest.mark.parametrize(
    ("message", "complaint"),
    [
        (HEADER.pack(99, 0), "unknown message 99"),
        (HEADER.pack(Command.CONFIG_READ, 4) + bytes(4), "CONFIG_READ carries 4 bytes, 12 are needed"),
        (HEADER.pack(Command.CONFIG_READ, 1 << 40), "announces"),
        (HEADER.pack(Command.CONFIG_READ, 12) + bytes(3), "stream ended after 3 of 12 bytes"),
        (HEADER.pack(Command.CONFIG_READ, 12)[:7], "stream ended after 0 of 9 bytes"),
    ],
)
def test_what_is_not_understood_is_said(message: bytes, complaint: str) -> None:
    here, there = socket.socketpair()
    with here, there:
        here.sendall(message)
        here.shutdown(socket.SHUT_WR)
        with pytest.raises(ProtocolError, match=complaint):
            GpuDevice(there, A10).serve_one()


def test_end_of_stream_ends_the_service() -> None:
    here, there = socket.socketpair()
    with there:
        here.close()
        assert GpuDevice(there, A10).serve_one() is False


def test_audio_sits_beside_its_gpu() -> None:
    gpu, audio = ConfigSpace(RTX_A6000), ConfigSpace(RTX_A6000_AUDIO)
    assert gpu.read(0x0E, 1) == 0x80
    assert gpu.read(0x08, 4) == 0x030000A1
    assert (audio.read(0x00, 4), audio.read(0x08, 4)) == (0x1AEF10DE, 0x040300A1)


def test_only_first_functions_of_larger_devices_say_multifunction() -> None:
    for profile in PROFILES.values():
        for slot in profile.slots:
            assert slot.functions[0].multifunction == (len(slot.functions) > 1), profile.name


def test_too_many_bars() -> None:
    with pytest.raises(ValueError, match="more BARs"):
        ConfigSpace(Function(1, 2, 0, 0, 0, bars=(Bar(4096),) * 7))


@given(
    writes=st.lists(st.tuples(st.integers(0, 300), st.integers(0, 2**32 - 1), st.sampled_from((1, 2, 4))), max_size=20)
)
def test_no_write_changes_what_the_device_is(writes: list[tuple[int, int, int]]) -> None:
    space = ConfigSpace(A10)
    for address, value, length in writes:
        space.write(address, value, length)
    assert space.read(0x00, 4) == 0x223610DE
    assert space.read(0x08, 4) == 0x030200A1
    assert space.read(0x0E, 1) == 0
    assert space.read(0x2C, 4) == 0x148210DE

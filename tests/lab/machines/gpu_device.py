# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A PCI device in a program: the remote end of QEMU's x-pci-proxy-dev.

QEMU forwards every access to configuration space and BARs over a Unix socket, so the guest's kernel and lspci see
whatever identity is served here. Messages are a 16-byte header and a payload in host byte order
(QEMU docs/devel/multi-process.rst and include/hw/remote/mpqemu-link.h, tag v7.2.0).
"""

from __future__ import annotations

import array
import contextlib
import enum
import os
import socket
import struct
from dataclasses import dataclass, field

CONFIG_SIZE = 256
MAX_PAYLOAD = 1 << 20
_HEADER = struct.Struct("=i4xQ")
_CONFIG_ACCESS = struct.Struct("=IIi")
_BAR_ACCESS = struct.Struct("=QQI?")
_VALUE = struct.Struct("=Q")
_MAX_FDS = 8

# Offsets in a type 0 configuration header (PCI Local Bus Specification 3.0, section 6.1).
_COMMAND, _STATUS, _CACHE_LINE, _HEADER_TYPE = 0x04, 0x06, 0x0C, 0x0E
_BAR0, _SUBSYSTEM, _CAPABILITIES, _INTERRUPT_LINE, _INTERRUPT_PIN = 0x10, 0x2C, 0x34, 0x3C, 0x3D
_PM_AT, _EXPRESS_AT = 0x40, 0x50
# The same bits in the link's capabilities and in its status: width in the upper part, speed in the lower.
_LINK = 16 << 4 | 4


class Command(enum.IntEnum):
    """Message types (MPQemuCmd)."""

    SYNC_SYSMEM = 0
    RETURN = 1
    CONFIG_WRITE = 2
    CONFIG_READ = 3
    BAR_WRITE = 4
    BAR_READ = 5
    SET_IRQFD = 6
    DEVICE_RESET = 7


@dataclass(frozen=True)
class Bar:
    """A 32-bit memory BAR, a power of two in size (QEMU's proxy sizes each register alone: no 64-bit BARs)."""

    size: int
    prefetchable: bool = False


@dataclass(frozen=True)
class Function:
    """What one PCI function says about itself."""

    vendor: int
    device: int
    class_code: int
    subsystem_vendor: int
    subsystem_device: int
    revision: int = 0
    bars: tuple[Bar, ...] = ()
    multifunction: bool = False
    interrupt_pin: int = 1
    express: bool = True
    # On the root bus it has no link; in the slot of a port it has one.
    integrated: bool = True


@dataclass
class ConfigSpace:
    """256 bytes of configuration space and, for each, the bits a guest may change."""

    function: Function
    content: bytearray = field(init=False)
    writable: bytearray = field(init=False)

    def __post_init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Back to the state after power-on: no BAR assigned, decoding off."""
        one = self.function
        self.content = bytearray(CONFIG_SIZE)
        self.writable = bytearray(CONFIG_SIZE)
        struct.pack_into("<HH", self.content, 0, one.vendor, one.device)
        struct.pack_into("<I", self.content, 0x08, (one.class_code << 8) | one.revision)
        self.content[_HEADER_TYPE] = 0x80 if one.multifunction else 0
        struct.pack_into("<HH", self.content, _SUBSYSTEM, one.subsystem_vendor, one.subsystem_device)
        self.content[_INTERRUPT_PIN] = one.interrupt_pin
        # I/O, memory, bus master, parity, SERR and interrupt disable.
        struct.pack_into("<H", self.writable, _COMMAND, 0x0547)
        self.writable[_CACHE_LINE] = 0xFF
        self.writable[_INTERRUPT_LINE] = 0xFF
        self._place_bars()
        self._place_capabilities()

    def _place_bars(self) -> None:
        if len(self.function.bars) > 6:
            raise ValueError("more BARs than a type 0 header has room for")
        for number, bar in enumerate(self.function.bars):
            register = _BAR0 + 4 * number
            struct.pack_into("<I", self.content, register, 0x8 if bar.prefetchable else 0)
            # Writing all ones and reading back the size works because the low bits cannot be changed.
            struct.pack_into("<I", self.writable, register, ~(bar.size - 1) & 0xFFFFFFFF)

    def _place_capabilities(self) -> None:
        if not self.function.express:
            return
        struct.pack_into("<H", self.content, _STATUS, 0x0010)
        self.content[_CAPABILITIES] = _PM_AT
        # Power management version 3, D0 and D3hot only, no soft reset on leaving D3hot.
        struct.pack_into("<BBHHH", self.content, _PM_AT, 0x01, _EXPRESS_AT, 0x0003, 0x0008, 0)
        struct.pack_into("<H", self.writable, _PM_AT + 4, 0x0003)
        # PCI Express version 2: a root complex integrated endpoint (type 9), or an endpoint (type 0) with 16 lanes of 16 GT/s.
        kind, link = (0x0092, 0) if self.function.integrated else (0x0002, _LINK)
        struct.pack_into("<BBHIHH", self.content, _EXPRESS_AT, 0x10, 0x00, kind, 0x00008000, 0x2810, 0)
        struct.pack_into("<IHH", self.content, _EXPRESS_AT + 0x0C, link, 0, link)
        struct.pack_into("<H", self.writable, _EXPRESS_AT + 8, 0x7FFF)

    def read(self, address: int, length: int) -> int:
        """Little-endian value; what lies outside configuration space reads as all ones."""
        if address < 0 or length not in (1, 2, 4) or address + length > CONFIG_SIZE:
            return (1 << (8 * length)) - 1 if length in (1, 2, 4) else 0xFFFFFFFF
        return int.from_bytes(self.content[address : address + length], "little")

    def write(self, address: int, value: int, length: int) -> None:
        """Change the writable bits only; a write outside configuration space is dropped."""
        if address < 0 or length not in (1, 2, 4) or address + length > CONFIG_SIZE:
            return
        for offset in range(length):
            at, byte = address + offset, (value >> (8 * offset)) & 0xFF
            mask = self.writable[at]
            self.content[at] = (self.content[at] & ~mask & 0xFF) | (byte & mask)


class ProtocolError(Exception):
    """The other side sent something this device does not speak."""


class GpuDevice:
    """Serves one PCI function on one socket until the other side closes it."""

    def __init__(self, connection: socket.socket, function: Function) -> None:
        self.connection = connection
        self.config = ConfigSpace(function)
        self.resets = 0

    def serve(self) -> None:
        """Answer messages until QEMU is gone."""
        with self.connection:
            while self.serve_one():
                pass

    def serve_one(self) -> bool:
        """Answer one message; False at end of stream."""
        message = self._receive()
        if message is None:
            return False
        reply = self._answer(*message)
        if reply is not None:
            self.connection.sendall(_HEADER.pack(Command.RETURN, _VALUE.size) + _VALUE.pack(reply))
        return True

    def _receive(self) -> tuple[Command, bytes] | None:
        try:
            first, ancillary, _flags, _from = self.connection.recvmsg(
                _HEADER.size, socket.CMSG_SPACE(_MAX_FDS * struct.calcsize("i"))
            )
        except ConnectionResetError:
            return None
        # Guest memory and interrupt descriptors are of no use here: this device does no DMA.
        for level, kind, data in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                descriptors = array.array("i")
                descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
                for descriptor in descriptors:
                    with contextlib.suppress(OSError):
                        os.close(descriptor)
        if not first:
            return None
        number, size = _HEADER.unpack(first + self._exactly(_HEADER.size - len(first)))
        if size > MAX_PAYLOAD:
            raise ProtocolError(f"message {number} announces {size} bytes")
        payload = self._exactly(size)
        try:
            return Command(number), payload
        except ValueError:
            raise ProtocolError(f"unknown message {number} of {size} bytes") from None

    def _exactly(self, size: int) -> bytes:
        content = b""
        while len(content) < size:
            piece = self.connection.recv(size - len(content))
            if not piece:
                raise ProtocolError(f"stream ended after {len(content)} of {size} bytes")
            content += piece
        return content

    def _answer(self, command: Command, payload: bytes) -> int | None:
        if command in (Command.SYNC_SYSMEM, Command.SET_IRQFD, Command.RETURN):
            return None
        if command in (Command.CONFIG_READ, Command.CONFIG_WRITE):
            self._long_enough(command, payload, _CONFIG_ACCESS)
            address, value, length = _CONFIG_ACCESS.unpack_from(payload)
            if command is Command.CONFIG_READ:
                return self.config.read(address, length)
            self.config.write(address, value, length)
            return 0
        if command in (Command.BAR_READ, Command.BAR_WRITE):
            # Registers read as zero and ignore writes: a driver that probes the chip finds no GPU it knows.
            self._long_enough(command, payload, _BAR_ACCESS)
            return 0
        self.config.reset()
        self.resets += 1
        return 0

    @staticmethod
    def _long_enough(command: Command, payload: bytes, shape: struct.Struct) -> None:
        if len(payload) < shape.size:
            raise ProtocolError(f"{command.name} carries {len(payload)} bytes, {shape.size} are needed")

"""Unpack a distribution's kernel image before the guest boots it. Pure.

A bzImage contains a small program that unpacks the kernel (Documentation/arch/x86/boot.rst),
which takes an emulated CPU up to half a minute. QEMU also boots an unpacked kernel, at the entry
point that the kernel names in an ELF note (Linux, include/xen/interface/elfnote.h,
XEN_ELFNOTE_PHYS32_ENTRY).
"""

import lzma
import struct
import zlib
from collections.abc import Callable

_SECTOR_BYTES = 512
_MAGIC_AT, _MAGIC = 0x202, b"HdrS"
_SETUP_SECTORS_AT, _PAYLOAD_AT = 0x1F1, 0x248
_DEFAULT_SETUP_SECTORS = 4
_ELF = b"\x7fELF"
_PHYS32_ENTRY = 18
_UNPACKERS: dict[bytes, Callable[[bytes], bytes]] = {
    b"\xfd7zXZ": lambda packed: lzma.LZMADecompressor().decompress(packed),
    b"\x1f\x8b": lambda packed: zlib.decompressobj(wbits=31).decompress(packed),
}


def unpacked(image: bytes) -> bytes | None:
    """Return the ELF kernel in a bzImage; None if QEMU cannot boot the kernel directly.

    The result is None if the compression is neither xz nor gzip, or if the kernel lacks the ELF
    note (CONFIG_PVH).
    """
    if image[_MAGIC_AT : _MAGIC_AT + len(_MAGIC)] != _MAGIC:
        return None
    sectors = image[_SETUP_SECTORS_AT] or _DEFAULT_SETUP_SECTORS
    offset, length = struct.unpack_from("<II", image, _PAYLOAD_AT)
    begin = (sectors + 1) * _SECTOR_BYTES + offset
    packed = image[begin : begin + length]
    unpack = next(
        (unpack for magic, unpack in _UNPACKERS.items() if packed.startswith(magic)), None
    )
    try:
        kernel = unpack(packed) if unpack else b""
    except (lzma.LZMAError, zlib.error):
        return None
    notes = (struct.pack("<III4s", 4, size, _PHYS32_ENTRY, b"Xen") for size in (4, 8))
    bootable = kernel.startswith(_ELF) and any(note in kernel for note in notes)
    return kernel if bootable else None

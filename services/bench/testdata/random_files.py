"""Write DICOM files of random attributes and values into a folder, and a line of JSON for each
that says what they hold: file, min, max, sha256 of the stored values, and how it was made.

usage: random_files.py FOLDER SEED COUNT
"""
import hashlib
import json
import sys

import imagecodecs
import numpy
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID

NATIVE = {"implicit": "1.2.840.10008.1.2", "explicit": "1.2.840.10008.1.2.1", "big endian": "1.2.840.10008.1.2.2",
          "deflated": "1.2.840.10008.1.2.1.99", "encapsulated": "1.2.840.10008.1.2.1.98", "RLE": "1.2.840.10008.1.2.5"}
CODED = {"JPEG-LS": "1.2.840.10008.1.2.4.80", "JPEG lossless": "1.2.840.10008.1.2.4.70",
         "JPEG 2000": "1.2.840.10008.1.2.4.90", "HTJ2K": "1.2.840.10008.1.2.4.201"}


def rle(frame, width):
    """A frame of PS3.5 Annex G: a segment for each byte of the samples, the highest first."""
    segments = []
    for byte in reversed(range(width)):
        plane = (frame >> (8 * byte) & 255).astype(numpy.uint8)
        segment = b"".join(imagecodecs.packbits_encode(row.tobytes()) for row in plane)
        segments.append(segment + b"\0" * (len(segment) % 2))
    offsets = [64 + sum(len(s) for s in segments[:i]) for i in range(len(segments))]
    header = [len(segments)] + offsets + [0] * (15 - len(segments))
    return numpy.array(header, "<u4").tobytes() + b"".join(segments)


def encode(kind, frame, stored):
    if kind == "JPEG-LS":
        return imagecodecs.jpegls_encode(frame)
    if kind == "JPEG lossless":
        return imagecodecs.ljpeg_encode(frame, bitspersample=stored)
    if kind == "JPEG 2000":
        return imagecodecs.jpeg2k_encode(frame, codecformat="j2k", bitspersample=stored, reversible=True)
    return bytes(imagecodecs.htj2k_encode(frame))


def write(folder, name, r):
    kind = str(r.choice([*NATIVE, *CODED]))
    allocated = int(r.choice([8, 16, 16, 32])) if kind in NATIVE else int(r.choice([8, 16]))
    least = {8: 2, 16: 9, 32: 9}[allocated] if kind in CODED else 1
    stored = int(r.integers(least, min(allocated, 16) + 1))
    high = int(r.integers(stored - 1, allocated)) if kind in NATIVE and r.random() < 0.4 else stored - 1
    signed = bool(r.random() < 0.4) and stored > 1
    shape = (int(r.choice([1, 1, 1, 2, 3])), int(r.integers(1, 40)), int(r.integers(1, 40)))
    low, top = (-(1 << stored - 1), 1 << stored - 1) if signed else (0, 1 << stored)
    values = r.integers(low, top, shape).astype(numpy.int64)

    mask = (1 << stored) - 1
    raw = (values & mask) << (high - stored + 1)
    if kind in NATIVE and r.random() < 0.3:  # overlays and other things in the bits that are not stored
        raw |= r.integers(0, 1 << 31, shape) & ((1 << allocated) - 1) & ~(mask << (high - stored + 1))
    width = allocated // 8
    plain = raw.astype(f"{'>' if kind == 'big endian' else '<'}u{width}")

    d = Dataset()
    d.SOPClassUID, d.SOPInstanceUID, d.StudyInstanceUID, d.SeriesInstanceUID = "1.2.840.10008.5.1.4.1.1.1.1", "1.2.3.1", "1.2.3", "1.2.3.2"
    d.Modality, d.BodyPartExamined, d.ViewPosition = "DX", "CHEST", "PA"
    d.Rows, d.Columns, d.SamplesPerPixel = shape[1], shape[2], 1
    d.PhotometricInterpretation = str(r.choice(["MONOCHROME1", "MONOCHROME2"]))
    d.BitsAllocated, d.BitsStored, d.HighBit, d.PixelRepresentation = allocated, stored, high, int(signed)
    if shape[0] > 1 or r.random() < 0.3:
        d.NumberOfFrames = shape[0]
    if kind in ("encapsulated", "RLE") or kind in CODED:
        if kind == "encapsulated":
            frames = [f.tobytes() for f in plain]
        elif kind == "RLE":
            frames = [rle(f, width) for f in raw]
        else:
            frames = [encode(kind, numpy.ascontiguousarray(f.astype(f"u{width}")), stored) for f in raw]
        fragments = 2 if shape[0] == 1 and len(frames[0]) > 10 and kind in CODED and r.random() < 0.3 else 1
        d.PixelData = pydicom.encaps.encapsulate(frames, fragments_per_frame=fragments, has_bot=bool(r.random() < 0.7))
        d["PixelData"].is_undefined_length, d["PixelData"].VR = True, "OB"
    else:
        data = plain.tobytes()
        d.PixelData = data + b"\0" * (len(data) % 2)
        d["PixelData"].VR = "OB" if allocated == 8 else "OW"
    d.file_meta = FileMetaDataset()
    d.file_meta.MediaStorageSOPClassUID, d.file_meta.MediaStorageSOPInstanceUID = d.SOPClassUID, d.SOPInstanceUID
    d.file_meta.TransferSyntaxUID = UID({**NATIVE, **CODED}[kind])
    d.save_as(f"{folder}/{name}", enforce_file_format=True, little_endian=kind != "big endian", implicit_vr=kind == "implicit")
    hashed = values.astype(f"<{'i' if signed else 'u'}{width}").tobytes()
    print(json.dumps({"file": name, "min": int(values.min()), "max": int(values.max()), "sha256": hashlib.sha256(hashed).hexdigest(),
                      "how": f"{kind}, {stored} of {allocated} bits, high bit {high}, signed {signed}, {shape}"}))


folder, seed, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
random = numpy.random.default_rng(seed)
for i in range(count):
    write(folder, f"{i}.dcm", random)

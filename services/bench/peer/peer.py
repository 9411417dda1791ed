"""The peer of `radstream bench decode` and `radstream bench prepare`.

Reads one JSON request a line and answers each with one:
  {"write": film.dcm, "dir": d, "rows": n, "columns": n} -> {"files": [{"name", "path", "lossy"}]}
  {"decode": f}               -> {"ms"}      file in memory -> stored values
  {"decode": f, "values": v}  -> {"ms"}      and writes them, little endian, 16 bits each
  {"prepare": f}              -> {"ms"}      file in memory -> 224 x 224 grey values
A request that fails is answered with {"error"}.
"""
import io
import json
import sys
import time

import imagecodecs
import numpy
import pydicom
from PIL import Image
from pydicom.pixels import apply_modality_lut, apply_voi_lut, pixel_array
from pydicom.uid import UID

JPEGLS = ("1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81")
NATIVE = ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99")


def encoders():
    """Name, transfer syntax, bits, whether it loses, and what encodes an array."""
    c = imagecodecs
    return [
        ("native", NATIVE[0], 12, False, None),
        ("deflated", NATIVE[1], 12, False, None),
        ("RLE", "1.2.840.10008.1.2.5", 12, False, "rle"),
        ("JPEG baseline", "1.2.840.10008.1.2.4.50", 8, True, lambda a: c.jpeg8_encode(a, level=95)),
        ("JPEG extended", "1.2.840.10008.1.2.4.51", 12, True, lambda a: c.jpeg_encode(a, bitspersample=12, level=95)),
        ("JPEG lossless", "1.2.840.10008.1.2.4.70", 12, False, lambda a: c.ljpeg_encode(a, bitspersample=12)),
        ("JPEG-LS", JPEGLS[0], 12, False, c.jpegls_encode),
        ("JPEG-LS near-lossless", JPEGLS[1], 12, True, lambda a: c.jpegls_encode(a, level=2)),
        ("JPEG 2000", "1.2.840.10008.1.2.4.90", 12, False,
         lambda a: c.jpeg2k_encode(a, codecformat="j2k", bitspersample=12, reversible=True)),
        ("JPEG 2000 lossy", "1.2.840.10008.1.2.4.91", 12, True,
         lambda a: c.jpeg2k_encode(a, codecformat="j2k", bitspersample=12, level=60)),
        ("HTJ2K", "1.2.840.10008.1.2.4.201", 12, False, c.htj2k_encode),
    ]


def write(request):
    """Write the film in every syntax, enlarged, with the noise that a detector would have."""
    film = pydicom.dcmread(request["write"])
    picture = Image.fromarray(film.pixel_array.astype(numpy.float32))
    picture = picture.resize((request["columns"], request["rows"]), Image.Resampling.BICUBIC)
    noise = numpy.random.default_rng(1).normal(0, 8, (request["rows"], request["columns"]))
    values = numpy.clip(numpy.rint(numpy.asarray(picture) + noise), 0, 4095).astype(numpy.uint16)
    files = []
    for name, syntax, bits, lossy, encode in encoders():
        a = values if bits > 8 else (values >> 4).astype(numpy.uint8)
        d = pydicom.dcmread(request["write"])
        d.Rows, d.Columns = a.shape
        d.BitsAllocated, d.BitsStored, d.HighBit = 8 * a.itemsize, bits, bits - 1
        if bits == 8 and "WindowWidth" in d:
            d.WindowCenter, d.WindowWidth = d.WindowCenter / 16, d.WindowWidth / 16
        d.PixelData = a.tobytes()
        d.file_meta.TransferSyntaxUID = UID(NATIVE[0])
        if encode == "rle":
            d.compress(UID(syntax), encoding_plugin="pylibjpeg", generate_instance_uid=False)
        elif encode:
            d.PixelData = pydicom.encaps.encapsulate([bytes(encode(a))])
            d["PixelData"].is_undefined_length = True
        d.file_meta.TransferSyntaxUID = UID(syntax)
        path = f"{request['dir']}/{name.replace(' ', '-')}.dcm"
        d.save_as(path, enforce_file_format=True)
        files.append({"name": name, "path": path, "lossy": lossy})
    return {"files": files}


def options(d):
    syntax = d.file_meta.TransferSyntaxUID
    if syntax in NATIVE:
        return {}
    return {"decoding_plugin": "pyjpegls" if syntax in JPEGLS else "pylibjpeg"}


def decode(request):
    data = open(request["decode"], "rb").read()
    start = time.perf_counter()
    d = pydicom.dcmread(io.BytesIO(data))
    values = pixel_array(d, **options(d))
    ms = 1000 * (time.perf_counter() - start)
    if "values" in request:
        values.astype("<u2").tofile(request["values"])
    return {"ms": ms}


def prepare(request):
    data = open(request["prepare"], "rb").read()
    start = time.perf_counter()
    d = pydicom.dcmread(io.BytesIO(data))
    values = apply_voi_lut(apply_modality_lut(pixel_array(d, **options(d)), d), d).astype(numpy.float32)
    low, high = values.min(), values.max()
    grey = ((values - low) * (255 / max(high - low, 1))).astype(numpy.uint8)
    if d.PhotometricInterpretation == "MONOCHROME1":
        grey = 255 - grey
    picture = Image.fromarray(grey)
    picture.thumbnail((224, 224), Image.Resampling.BILINEAR, reducing_gap=None)
    square = Image.new("L", (224, 224))
    square.paste(picture, ((224 - picture.width) // 2, (224 - picture.height) // 2))
    square.tobytes()
    return {"ms": 1000 * (time.perf_counter() - start)}


for line in sys.stdin:
    request = json.loads(line)
    try:
        answer = write(request) if "write" in request else decode(request) if "decode" in request else prepare(request)
    except Exception as e:  # told, and the bench goes on
        answer = {"error": f"{type(e).__name__}: {e}"}
    print(json.dumps(answer), flush=True)

"""Writes pydicom_grey.json: small synthetic objects, and the grey values pydicom makes of them.

    python3 -m venv /tmp/v && /tmp/v/bin/pip install pydicom==3.0.2 numpy==2.4.6
    /tmp/v/bin/python ingest/testdata/pydicom_grey.py > ingest/testdata/pydicom_grey.json

Each object is 16 x 16. grey is apply_modality_lut, then apply_voi_lut, brought to 0 to 255 by
the range that pydicom gives, and inverted for MONOCHROME1. (pydicom 3.0.2 takes entries of
8 bits only in words of 16, and the first of two tables or windows unless told another.)
"""
import base64, io, json
import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut
from pydicom.sequence import Sequence
from pydicom import uid, dcmread

LE, BE, IMPLICIT, DEFLATED = uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian, uid.ImplicitVRLittleEndian, uid.DeflatedExplicitVRLittleEndian


def lut(first, bits, entries, vr="US", data=None, undefined=False):
    item = Dataset()
    item.add_new(0x00283002, vr, [len(entries) % 65536, first, bits])
    entries = [int(e) for e in entries]
    if data is None:
        item.add_new(0x00283006, "US", entries)
    else:
        item.add_new(0x00283006, "OW", data(entries))
    item.is_undefined_length_sequence_item = undefined
    s = Sequence([item])
    s.is_undefined_length = undefined
    return s


def words(entries):
    return np.array(entries, "<u2").tobytes()


def case(name, values, bits=12, signed=False, syntax=LE, photometric="MONOCHROME2", index=0, fields=None, undefined=()):
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = syntax
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = "1.2.840.10008.5.1.4.1.1.1"
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = "2.25.1"
    ds.Modality, ds.StudyInstanceUID = "CR", "2.25.2"
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.Rows, ds.Columns = 1, photometric, 16, 16
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, bits, bits - 1, int(signed)
    big = syntax == BE
    arr = np.array(values).astype("i2" if signed else "u2").reshape(16, 16)
    ds.add_new(0x7FE00010, "OW", arr.astype(arr.dtype.newbyteorder(">" if big else "<")).tobytes())
    for k, v in (fields or {}).items():
        if isinstance(v, Sequence):
            ds.add_new(k, "SQ", v)
            ds[k].is_undefined_length = v.is_undefined_length
        else:
            setattr(ds, k, v)
    out = io.BytesIO()
    ds.save_as(out, enforce_file_format=True)
    ds = dcmread(io.BytesIO(out.getvalue()))
    stored = np.frombuffer(ds.PixelData, arr.dtype.newbyteorder(">" if big else "<")).reshape(16, 16).astype(arr.dtype)
    assert (stored == arr).all()
    y = apply_voi_lut(apply_modality_lut(arr, ds), ds, index=index)
    if "VOILUTSequence" in ds:
        y = y / (2 ** ds.VOILUTSequence[index].LUTDescriptor[2] - 1)
    else:
        if "ModalityLUTSequence" in ds:
            low, high = 0, 2 ** ds.ModalityLUTSequence[0].LUTDescriptor[2] - 1
        elif signed:
            low, high = -2 ** (bits - 1), 2 ** (bits - 1) - 1
        else:
            low, high = 0, 2**bits - 1
        if "RescaleSlope" in ds:
            low, high = (float(ds.RescaleSlope) * v + float(ds.RescaleIntercept) for v in (low, high))
        y = (y - low) / (high - low)
    if photometric == "MONOCHROME1":
        y = 1 - y
    return {"name": name, "used": index, "dicom": base64.b64encode(out.getvalue()).decode(), "grey": [round(float(v), 4) for v in 255 * y.ravel()]}


MODALITY, VOI = 0x00283000, 0x00283010
up = np.arange(256) * 16  # 12 bits
mixed = np.arange(256) * 16 - 2048
curve = (65535 * (np.arange(256) / 255) ** 0.5).astype(int)
steep = (4095 / (1 + np.exp(-(np.arange(1024) - 512) / 120))).astype(int)
window = {"WindowCenter": 2048, "WindowWidth": 3000}

cases = [
    case("window", up, fields=window),
    case("window and rescale", up, fields={"WindowCenter": "-200.5", "WindowWidth": "900.25", "RescaleSlope": "0.5", "RescaleIntercept": "-1024"}),
    case("window of width 1025, signed", mixed, signed=True, fields={"WindowCenter": 0, "WindowWidth": 1025}),
    case("linear exact", up, fields=window | {"VOILUTFunction": "LINEAR_EXACT"}),
    case("sigmoid", mixed, signed=True, fields={"WindowCenter": 100, "WindowWidth": 1500, "VOILUTFunction": "SIGMOID"}),
    case("second window", up, index=1, fields={"WindowCenter": [30000, 1000], "WindowWidth": [10, 2000]}),
    case("MONOCHROME1", up, photometric="MONOCHROME1", fields=window),
    case("modality LUT of 16 bits", up // 16, bits=8, fields={MODALITY: lut(0, 16, curve), "WindowCenter": 30000, "WindowWidth": 50000}),
    case("modality LUT with a first value, clamped at both ends", up, fields={MODALITY: lut(1000, 16, np.arange(2000) * 20), "WindowCenter": 20000, "WindowWidth": 40000}),
    case("modality LUT, signed", mixed, signed=True, fields={MODALITY: lut(-1000, 16, np.arange(2000) * 20, vr="SS", data=words), "WindowCenter": 20000, "WindowWidth": 40000}),
    case("modality LUT of 8 bits in words", up // 16, bits=8, fields={MODALITY: lut(0, 8, np.arange(256)[::-1], data=words), "WindowCenter": 128, "WindowWidth": 200}),
    case("modality LUT of 65,536 entries", np.arange(256) * 257, bits=16, syntax=DEFLATED, fields={MODALITY: lut(0, 16, 65535 - np.arange(65536) // 256 * 255, data=words), "WindowCenter": 30000, "WindowWidth": 60000}),
    case("VOI LUT before window", up // 4, fields=window | {VOI: lut(0, 12, steep)}),
    case("VOI LUT, implicit", up // 4, syntax=IMPLICIT, fields={VOI: lut(0, 12, steep, data=words)}),
    case("VOI LUT, big endian", up // 4, syntax=BE, fields={VOI: lut(0, 12, steep)}),
    case("VOI LUT, undefined lengths", up // 4, fields={VOI: lut(0, 12, steep, undefined=True)}),
    case("VOI LUT, implicit, undefined lengths", up // 4, syntax=IMPLICIT, fields={VOI: lut(0, 12, steep, undefined=True)}),
    case("VOI LUT of 16 bits behind rescale", up, fields={"RescaleSlope": "1", "RescaleIntercept": "-1024", VOI: lut(-500, 16, np.arange(1024) * 60, vr="SS", data=words)}),
    case("VOI LUT behind modality LUT", up // 16, bits=8, fields={MODALITY: lut(0, 16, np.arange(256) * 4), VOI: lut(0, 12, steep)}),
    case("VOI LUT of 8 bits, MONOCHROME1", up // 16, bits=8, photometric="MONOCHROME1", fields={VOI: lut(0, 8, np.arange(256) // 2 + 60, data=words)}),
]
print("[\n" + ",\n".join(json.dumps(c) for c in cases) + "\n]")

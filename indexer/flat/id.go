package flat

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"strconv"
)

// PointID names a point inside its collection: an unsigned number or a UUID. The zero
// value is number 0. It is comparable and may be a map key.
type PointID struct {
	uuid   [16]byte
	num    uint64
	isUUID bool
}

// NumID returns the numeric id n.
func NumID(n uint64) PointID { return PointID{num: n} }

// UUIDID returns the id for a UUID's 16 bytes in network order (RFC 9562).
func UUIDID(u [16]byte) PointID { return PointID{uuid: u, isUUID: true} }

// Num returns the number of id; ok is false for a UUID.
func (id PointID) Num() (n uint64, ok bool) { return id.num, !id.isUUID }

// UUID returns the bytes of id; ok is false for a number.
func (id PointID) UUID() (u [16]byte, ok bool) { return id.uuid, id.isUUID }

// Compare orders ids as Qdrant does: numbers before UUIDs, then by value.
func (id PointID) Compare(o PointID) int {
	switch {
	case id.isUUID != o.isUUID:
		if o.isUUID {
			return -1
		}
		return 1
	case id.isUUID:
		return bytes.Compare(id.uuid[:], o.uuid[:])
	}
	return cmp.Compare(id.num, o.num)
}

// String returns the decimal number or the hyphenated UUID.
func (id PointID) String() string {
	if !id.isUUID {
		return strconv.FormatUint(id.num, 10)
	}
	var b [36]byte
	hex.Encode(b[0:8], id.uuid[0:4])
	hex.Encode(b[9:13], id.uuid[4:6])
	hex.Encode(b[14:18], id.uuid[6:8])
	hex.Encode(b[19:23], id.uuid[8:10])
	hex.Encode(b[24:36], id.uuid[10:16])
	b[8], b[13], b[18], b[23] = '-', '-', '-', '-'
	return string(b[:])
}

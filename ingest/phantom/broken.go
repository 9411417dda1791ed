package phantom

import "bytes"

// damage returns the object broken in the given way. data is an explicit little endian CR
// object; every patch keeps all lengths as they are.
func damage(data []byte, kind BrokenKind) []byte {
	pixels := bytes.LastIndex(data, []byte{0xE0, 0x7F, 0x10, 0x00, 'O', 'W'})
	swap := func(old, new string) []byte { return bytes.ReplaceAll(data, []byte(old), []byte(new)) }
	switch kind {
	case BrokenTruncated:
		return data[:pixels+(len(data)-pixels)/3]
	case BrokenEmpty:
		return nil
	case BrokenText:
		return []byte("This is not a radiograph. It is a text file with the name of one.\n")
	case BrokenCT:
		data = swap("1.2.840.10008.5.1.4.1.1.1\x00", "1.2.840.10008.5.1.4.1.1.2\x00")
		return swap("\x08\x00\x60\x00CS\x02\x00CR", "\x08\x00\x60\x00CS\x02\x00CT")
	case BrokenHuge:
		for _, element := range []byte{0x10, 0x11} { // rows, columns
			at := bytes.Index(data, []byte{0x28, 0x00, element, 0x00, 'U', 'S', 2, 0})
			data[at+8], data[at+9] = 0x20, 0x4E // 20000
		}
	case BrokenNoPixels:
		return data[:pixels]
	case BrokenUnknownCodec:
		return swap("UI\x14\x001.2.840.10008.1.2.1\x00", "UI\x14\x002.25.99887766554433\x00")
	}
	return data
}

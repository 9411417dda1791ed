package ort

import (
	"errors"
	"os"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
)

// graphNames returns the names of the graph's inputs and outputs that a session uses: all,
// or those that the caller chose, which must exist (the library would find out in the first run).
// They are read from the file, since the library would have to load it once more to tell them.
func graphNames(m Model, inputs, outputs []string) (in, out []string, err error) {
	file := m.Data
	if file == nil {
		if file, err = os.ReadFile(m.Path); err != nil {
			return nil, nil, err
		}
	}
	var ins, outs, stored []string
	err = fields(file, func(number protowire.Number, value []byte) error {
		if number != 7 { // ModelProto.graph
			return nil
		}
		return fields(value, func(number protowire.Number, value []byte) error {
			var err error
			switch number {
			case 5: // initializer, a TensorProto
				stored, err = appendString(stored, value, 8)
			case 11: // input, a ValueInfoProto
				ins, err = appendString(ins, value, 1)
			case 12: // output
				outs, err = appendString(outs, value, 1)
			}
			return err
		})
	})
	if err != nil {
		return nil, nil, err
	}
	// Old graphs list what they hold themselves as inputs too.
	ins = slices.DeleteFunc(ins, func(name string) bool { return slices.Contains(stored, name) })
	if in, err = choose("input", inputs, ins); err != nil {
		return nil, nil, err
	}
	out, err = choose("output", outputs, outs)
	return in, out, err
}

// appendString appends the field of a message that is a string.
func appendString(to []string, message []byte, field protowire.Number) ([]string, error) {
	err := fields(message, func(number protowire.Number, value []byte) error {
		if number == field {
			to = append(to, string(value))
		}
		return nil
	})
	return to, err
}

// fields calls do with each field of a message that has a length: strings, bytes and messages.
func fields(message []byte, do func(protowire.Number, []byte) error) error {
	for len(message) > 0 {
		number, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			return notONNX(n)
		}
		message = message[n:]
		if kind != protowire.BytesType {
			if n = protowire.ConsumeFieldValue(number, kind, message); n < 0 {
				return notONNX(n)
			}
			message = message[n:]
			continue
		}
		value, n := protowire.ConsumeBytes(message)
		if n < 0 {
			return notONNX(n)
		}
		message = message[n:]
		if err := do(number, value); err != nil {
			return err
		}
	}
	return nil
}

func notONNX(n int) error {
	return errors.Join(errors.New("this is no ONNX file"), protowire.ParseError(n))
}

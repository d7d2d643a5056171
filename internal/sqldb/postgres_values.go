package sqldb

import (
	"database/sql/driver"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strconv"

	"github.com/jackc/pgx/v5/pgtype"
)

const (
	inText   int16 = 0
	inBinary int16 = 1
)

var errValue = errors.New("a value of the server's has a form that its type does not have")

// formats says how values of the types travel.
func formats(types []uint32) []int16 {
	list := make([]int16, len(types))
	for i, t := range types {
		if isBinary(t) {
			list[i] = inBinary
		}
	}
	return list
}

// isBinary says whether a type is read and written here; all others travel as
// text.
func isBinary(t uint32) bool {
	switch t {
	case pgtype.Int8OID, pgtype.Int4OID, pgtype.Int2OID, pgtype.BoolOID, pgtype.ByteaOID, pgtype.Float8OID:
		return true
	}
	return isText(t)
}

func isText(t uint32) bool {
	return t == pgtype.TextOID || t == pgtype.VarcharOID || t == pgtype.BPCharOID || t == pgtype.NameOID
}

// arrayOf is the type of an array of the type; 0 if rows of it are not inserted.
func arrayOf(t uint32) uint32 {
	switch t {
	case pgtype.Int8OID:
		return pgtype.Int8ArrayOID
	case pgtype.Int4OID:
		return pgtype.Int4ArrayOID
	case pgtype.Int2OID:
		return pgtype.Int2ArrayOID
	case pgtype.BoolOID:
		return pgtype.BoolArrayOID
	case pgtype.ByteaOID:
		return pgtype.ByteaArrayOID
	case pgtype.Float8OID:
		return pgtype.Float8ArrayOID
	case pgtype.TextOID:
		return pgtype.TextArrayOID
	case pgtype.VarcharOID:
		return pgtype.VarcharArrayOID
	}
	return 0
}

// appendValue adds an argument in the form of its type. An argument that is nil
// is the caller's business.
func appendValue(to []byte, t uint32, a any) ([]byte, error) {
	v, err := value(a)
	if err != nil {
		return nil, err
	}
	switch v := v.(type) {
	case string:
		if isText(t) || t == pgtype.ByteaOID || !isBinary(t) {
			return append(to, v...), nil
		}
	case []byte:
		if t == pgtype.ByteaOID {
			return append(to, v...), nil
		}
	case int64:
		return appendInt(to, t, v)
	case bool:
		return appendBool(to, t, v)
	case float64:
		if t == pgtype.Float8OID {
			return binary.BigEndian.AppendUint64(to, math.Float64bits(v)), nil
		}
		if !isBinary(t) {
			return strconv.AppendFloat(to, v, 'g', -1, 64), nil
		}
	}
	return nil, fmt.Errorf("%T does not go into type %d", a, t)
}

func appendInt(to []byte, t uint32, v int64) ([]byte, error) {
	switch {
	case t == pgtype.Int8OID:
		return binary.BigEndian.AppendUint64(to, uint64(v)), nil
	case t == pgtype.Int4OID && int64(int32(v)) == v:
		return binary.BigEndian.AppendUint32(to, uint32(v)), nil
	case t == pgtype.Int2OID && int64(int16(v)) == v:
		return binary.BigEndian.AppendUint16(to, uint16(v)), nil
	case t == pgtype.BoolOID && (v == 0 || v == 1):
		return append(to, byte(v)), nil
	case t == pgtype.Float8OID:
		return binary.BigEndian.AppendUint64(to, math.Float64bits(float64(v))), nil
	case !isBinary(t):
		return strconv.AppendInt(to, v, 10), nil
	}
	return nil, fmt.Errorf("a number does not go into type %d", t)
}

func appendBool(to []byte, t uint32, v bool) ([]byte, error) {
	switch {
	case t == pgtype.BoolOID && v:
		return append(to, 1), nil
	case t == pgtype.BoolOID:
		return append(to, 0), nil
	case !isBinary(t):
		return strconv.AppendBool(to, v), nil
	case v:
		return appendInt(to, t, 1)
	}
	return appendInt(to, t, 0)
}

// decode gives a value the form that SQLite's driver gives it. It copies what
// is in the connection's memory.
func decode(t uint32, b []byte) (driver.Value, error) {
	if b == nil {
		return nil, nil
	}
	switch {
	case isText(t):
		return string(b), nil
	case t == pgtype.Int8OID && len(b) == 8:
		return int64(binary.BigEndian.Uint64(b)), nil
	case t == pgtype.Int4OID && len(b) == 4:
		return int64(int32(binary.BigEndian.Uint32(b))), nil
	case t == pgtype.Int2OID && len(b) == 2:
		return int64(int16(binary.BigEndian.Uint16(b))), nil
	case t == pgtype.BoolOID && len(b) == 1:
		return b[0] != 0, nil
	case t == pgtype.Float8OID && len(b) == 8:
		return math.Float64frombits(binary.BigEndian.Uint64(b)), nil
	case t == pgtype.ByteaOID && len(b) == 0:
		return nil, nil // as SQLite has it
	case t == pgtype.ByteaOID:
		return append([]byte(nil), b...), nil
	case isBinary(t):
		return nil, errValue
	}
	return decodeText(t, string(b))
}

// decodeText reads the types that travel as text. A sum of BIGINTs is NUMERIC.
func decodeText(t uint32, s string) (driver.Value, error) {
	if t != pgtype.NumericOID && t != pgtype.Float4OID {
		return s, nil
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return n, nil
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return nil, errValue
	}
	return f, nil
}

// array is an array in the server's binary form, while it is filled.
type array struct {
	bytes []byte
	elem  uint32
	rows  int
	nulls bool
}

// arrayHeader is how much stands before the values: dimensions, whether there
// are nulls, type, length, first index.
const arrayHeader = 20

func (a *array) reset(elem uint32) {
	a.bytes = append(a.bytes[:0], make([]byte, arrayHeader)...)
	a.elem, a.rows, a.nulls = elem, 0, false
}

// add adds a value with its length before it.
func (a *array) add(v any) (err error) {
	a.rows++
	at := len(a.bytes)
	a.bytes = append(a.bytes, 0xff, 0xff, 0xff, 0xff)
	if isNull(v) {
		a.nulls = true
		return nil
	}
	b, err := appendValue(a.bytes, a.elem, v)
	if err != nil {
		return err
	}
	a.bytes = b
	binary.BigEndian.PutUint32(a.bytes[at:], uint32(len(a.bytes)-at-4))
	return nil
}

// finish fills in the header.
func (a *array) finish() []byte {
	b := a.bytes
	binary.BigEndian.PutUint32(b[0:], 1)
	binary.BigEndian.PutUint32(b[4:], 0)
	if a.nulls {
		b[7] = 1
	}
	binary.BigEndian.PutUint32(b[8:], a.elem)
	binary.BigEndian.PutUint32(b[12:], uint32(a.rows))
	binary.BigEndian.PutUint32(b[16:], 1)
	return b
}

// isNull says whether an argument is NULL: nil, a nil slice of bytes, or a
// driver.Valuer that says so.
func isNull(a any) bool {
	switch a := a.(type) {
	case nil:
		return true
	case string, int64, int, bool, float64:
		return false
	case []byte:
		return a == nil
	}
	v, err := value(a)
	return err == nil && v == nil
}

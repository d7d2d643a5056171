package sqldb

import (
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"reflect"
	"time"
)

// errTime: both engines would store a time in a form of their own.
var errTime = errors.New("a time is stored as BIGINT milliseconds")

// value gives an argument one of the forms that every engine takes.
func value(a any) (driver.Value, error) {
	switch v := a.(type) {
	case nil, string, int64, bool, float64, []byte:
		return v, nil
	case int:
		return int64(v), nil
	case time.Time, *time.Time:
		return nil, errTime
	}
	v, err := driver.DefaultParameterConverter.ConvertValue(a)
	if _, isTime := v.(time.Time); isTime {
		return nil, errTime
	}
	return v, err
}

// assign stores a column in what dest points to.
func assign(dest any, v driver.Value) error {
	switch d := dest.(type) {
	case *any:
		*d = v
		return nil
	case sql.Scanner:
		return d.Scan(v)
	case *[]byte:
		return assignBytes(d, v)
	}
	switch v := v.(type) {
	case nil:
		return fmt.Errorf("NULL does not go into %T", dest)
	case string:
		if d, ok := dest.(*string); ok {
			*d = v
			return nil
		}
	case int64:
		if assignInt(dest, v) {
			return nil
		}
	case float64:
		if d, ok := dest.(*float64); ok {
			*d = v
			return nil
		}
	case bool:
		if d, ok := dest.(*bool); ok {
			*d = v
			return nil
		}
	}
	return assignKind(dest, v)
}

func assignBytes(d *[]byte, v driver.Value) error {
	switch v := v.(type) {
	case nil:
		*d = nil
	case []byte:
		*d = v
	case string:
		*d = []byte(v)
	default:
		return fmt.Errorf("%T does not go into []byte", v)
	}
	return nil
}

// assignInt knows the usual types; SQLite has no booleans but 0 and 1.
func assignInt(dest any, v int64) bool {
	switch d := dest.(type) {
	case *int64:
		*d = v
	case *int:
		*d = int(v)
	case *bool:
		*d = v != 0
	default:
		return false
	}
	return true
}

// assignKind knows the types whose kind fits, such as type Role string.
func assignKind(dest any, v driver.Value) error {
	p := reflect.ValueOf(dest)
	if p.Kind() != reflect.Pointer || p.IsNil() {
		return fmt.Errorf("scan into %T, which is no pointer", dest)
	}
	d, from := p.Elem(), reflect.ValueOf(v)
	switch {
	case from.CanInt() && d.CanInt() && !d.OverflowInt(from.Int()):
		d.SetInt(from.Int())
	case from.CanInt() && d.CanUint() && from.Int() >= 0 && !d.OverflowUint(uint64(from.Int())):
		d.SetUint(uint64(from.Int()))
	case from.Kind() == d.Kind() && from.CanConvert(d.Type()):
		d.Set(from.Convert(d.Type()))
	default:
		return fmt.Errorf("%T does not go into %T", v, dest)
	}
	return nil
}

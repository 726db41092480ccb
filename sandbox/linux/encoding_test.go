package linux

import (
	"reflect"
	"testing"

	"larder/sandbox"
)

// fill gives every field below v a value of its own, so that a field that eachField forgets is noticed.
func fill(v reflect.Value, n *int) {
	*n++
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), n)
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i), n)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 3, 3))
		for i := range v.Len() {
			fill(v.Index(i), n)
		}
	case reflect.String:
		v.SetString("\xff\x00" + string(rune('a'+*n)))
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(-*n))
	case reflect.Uint8:
		v.SetUint(uint64(*n % 256))
	case reflect.Uint64:
		v.SetUint(^uint64(*n))
	case reflect.Bool:
		v.SetBool(true)
	default:
		panic(v.Kind())
	}
}

func TestJobEncoding(t *testing.T) {
	var full job
	n := 0
	fill(reflect.ValueOf(&full).Elem(), &n)
	for _, j := range []*job{&full, {Spec: &sandbox.Spec{BuiltinInput: []byte{}}, Filter: []byte{}}} {
		data := encodeJob(j)
		back, err := decodeJob(data)
		if err != nil || !reflect.DeepEqual(back, j) {
			t.Fatalf("%v\ngot  %+v\nwant %+v", err, back, j)
		}
		for i := range data {
			if _, err := decodeJob(data[:i]); err == nil {
				t.Fatalf("cut off after %d bytes: no error", i)
			}
		}
		if _, err := decodeJob(append(data, 0)); err == nil {
			t.Fatal("a byte too many: no error")
		}
	}
}

func FuzzDecodeJob(f *testing.F) {
	var full job
	n := 0
	fill(reflect.ValueOf(&full).Elem(), &n)
	f.Add(encodeJob(&full))
	f.Fuzz(func(t *testing.T, data []byte) {
		if j, err := decodeJob(data); err == nil {
			if _, err := decodeJob(encodeJob(j)); err != nil {
				t.Fatal(err)
			}
		}
	})
}

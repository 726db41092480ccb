package linux

import (
	"encoding/binary"
	"errors"
	"math"

	"larder/sandbox"
)

// A job travels as its fields in the order of eachField, numbers as varints, strings and lists with their length before
// them. JSON would change strings that are not UTF-8, and the set-up of gob takes a set-up process longer than all its mounts.

// fields is implemented by the encoder and the decoder, so that eachField is the only list of the fields.
type fields interface {
	str(*string)
	num(*int64)
	flag(*bool)
	// list tells or sets the length.
	list(length int, resize func(int))
}

func eachField(f fields, j *job) {
	s := j.Spec
	for _, p := range []*[]byte{&j.Filter, &s.BuiltinInput} {
		text := string(*p)
		f.str(&text)
		*p = []byte(text)
	}
	f.flag(&j.HostRoot)
	f.flag(&j.PlainStore)
	for _, p := range []*string{
		&s.Builder, &s.Builtin, &s.Dir, &s.StoreDir, &s.BuildStore, &s.ObjectDir, &s.BuildDir, &s.TmpDirInSandbox, &s.TmpDir,
		&s.Platform, &s.Hostname, &s.Domainname, &s.DevShmSize,
	} {
		f.str(p)
	}
	for _, p := range []*[]string{&s.Args, &s.Env, &s.Absent} {
		f.list(len(*p), func(n int) { *p = make([]string, n) })
		for i := range *p {
			f.str(&(*p)[i])
		}
	}
	for _, p := range []*int{&s.UID, &s.GID, &s.HostUID, &s.HostGID, &s.UIDCount} {
		integer(f, p)
	}
	f.list(len(s.Groups), func(n int) { s.Groups = make([]int, n) })
	for i := range s.Groups {
		integer(f, &s.Groups[i])
	}
	for _, p := range []*bool{&s.NoChroot, &s.Network, &s.ImpersonateLinux26, &s.NoSyscallFilter, &s.AllowNewPrivileges} {
		f.flag(p)
	}
	f.flag(&s.Cgroup.Use)
	for _, p := range []*int64{&s.Cgroup.Memory, &s.Cgroup.Processes, &s.Cgroup.CPU} {
		f.num(p)
	}
	f.list(len(s.Limits), func(n int) { s.Limits = make([]sandbox.Limit, n) })
	for i := range s.Limits {
		l := &s.Limits[i]
		integer(f, &l.Resource)
		value := int64(l.Value)
		f.num(&value)
		l.Value = uint64(value)
	}
	f.list(len(s.Mounts), func(n int) { s.Mounts = make([]sandbox.Mount, n) })
	for i := range s.Mounts {
		m := &s.Mounts[i]
		f.str(&m.Source)
		f.str(&m.Target)
		f.flag(&m.Writable)
		f.flag(&m.Devices)
		f.flag(&m.Optional)
	}
}

func integer(f fields, p *int) {
	n := int64(*p)
	f.num(&n)
	*p = int(n)
}

// encodeJob does not change j, nor what it points to.
func encodeJob(j *job) []byte {
	spec := *j.Spec
	copied := *j
	copied.Spec = &spec
	e := &encoder{out: make([]byte, 0, 4096+200*len(spec.Mounts))}
	eachField(e, &copied)
	return e.out
}

var errJob = errors.New("a job that is cut off or garbled")

func decodeJob(data []byte) (*job, error) {
	j := &job{Spec: &sandbox.Spec{}}
	d := &decoder{in: data}
	eachField(d, j)
	if d.failed || len(d.in) > 0 {
		return nil, errJob
	}
	return j, nil
}

type encoder struct{ out []byte }

func (e *encoder) num(p *int64) { e.out = binary.AppendVarint(e.out, *p) }

func (e *encoder) str(p *string) {
	e.out = append(binary.AppendUvarint(e.out, uint64(len(*p))), *p...)
}

func (e *encoder) flag(p *bool) {
	b := byte(0)
	if *p {
		b = 1
	}
	e.out = append(e.out, b)
}

func (e *encoder) list(length int, _ func(int)) {
	e.out = binary.AppendUvarint(e.out, uint64(length))
}

// decoder reads zero values after the first error.
type decoder struct {
	in     []byte
	failed bool
}

// length reads one, which cannot be more than the bytes that follow it.
func (d *decoder) length() int {
	n, size := binary.Uvarint(d.in)
	if d.failed || size <= 0 || n > math.MaxInt32 || n > uint64(len(d.in)-size) {
		d.failed, d.in = true, nil
		return 0
	}
	d.in = d.in[size:]
	return int(n)
}

func (d *decoder) num(p *int64) {
	n, size := binary.Varint(d.in)
	if d.failed || size <= 0 {
		d.failed, d.in = true, nil
		return
	}
	*p, d.in = n, d.in[size:]
}

func (d *decoder) str(p *string) {
	n := d.length()
	*p, d.in = string(d.in[:n]), d.in[n:]
}

func (d *decoder) flag(p *bool) {
	if len(d.in) == 0 || d.in[0] > 1 {
		d.failed, d.in = true, nil
		return
	}
	*p, d.in = d.in[0] == 1, d.in[1:]
}

func (d *decoder) list(_ int, resize func(int)) {
	if n := d.length(); n > 0 {
		resize(n)
	}
}

package config

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strconv"
	"strings"
)

// Problems lists everything that is wrong with a configuration, each entry
// with the setting's name and what is allowed.
type Problems []string

func (p Problems) Error() string {
	if len(p) == 1 {
		return p[0]
	}
	return fmt.Sprintf("the configuration has %d problems:\n  %s", len(p), strings.Join(p, "\n  "))
}

func (p *Problems) add(setting, format string, args ...any) {
	*p = append(*p, setting+": "+fmt.Sprintf(format, args...))
}

// err returns p as an error, nil if there is no problem.
func (p Problems) err() error {
	if len(p) == 0 {
		return nil
	}
	return p
}

// Secret is a value that must not be seen: however it is printed, logged or
// marshalled, it shows only that it is set. Convert it to string to use it.
type Secret string

const redacted = "(secret)"

func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return redacted
}

// GoString implements fmt.GoStringer, for %#v.
func (s Secret) GoString() string { return strconv.Quote(s.String()) }

// MarshalText implements encoding.TextMarshaler.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// LogValue implements slog.LogValuer.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// Bytes is a size in bytes.
type Bytes int64

var errBytes = errors.New("not a size: use bytes, or a whole number with KiB, MiB, GiB or TiB")

// units from the largest to the smallest.
func units() []struct {
	name string
	size Bytes
} {
	return []struct {
		name string
		size Bytes
	}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}}
}

// UnmarshalText takes a whole number of bytes, or of the unit after it.
func (b *Bytes) UnmarshalText(text []byte) error {
	number, unit := string(text), Bytes(1)
	for _, u := range units() {
		if rest, ok := strings.CutSuffix(number, u.name); ok {
			number, unit = strings.TrimSpace(rest), u.size
			break
		}
	}
	n, err := strconv.ParseUint(number, 10, 63)
	if err != nil || n > math.MaxInt64/uint64(unit) {
		return errBytes
	}
	*b = Bytes(n) * unit
	return nil
}

// String is the shortest text that UnmarshalText reads as b.
func (b Bytes) String() string {
	for _, u := range units() {
		if b != 0 && b%u.size == 0 {
			return strconv.FormatInt(int64(b/u.size), 10) + u.name
		}
	}
	return strconv.FormatInt(int64(b), 10)
}

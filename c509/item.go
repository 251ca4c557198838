package c509

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/big"
	"strconv"
)

// json takes any item that raw takes into what encoding/json writes, without loss.
func (r *reader) json(depth int) any {
	if depth == 0 {
		r.unsupported("nested deeper than %d", maxDepth)
		return nil
	}
	switch r.peek() {
	case majorUint:
		return r.uint()
	case majorNegint:
		_, n := r.head()
		return new(big.Int).Not(new(big.Int).SetUint64(n)) // -1 - n, which may be beyond 63 bits
	case majorBytes:
		return map[string]any{"hex": hexBytes(r.bytes())}
	case majorText:
		return r.text()
	case majorArray:
		items := []any{}
		for n := r.array(); n > 0 && r.err == nil; n-- {
			items = append(items, r.json(depth-1))
		}
		return items
	case majorMap:
		pairs := []any{}
		_, n := r.head()
		for i := r.count(n, 2); i > 0 && r.err == nil; i-- {
			pairs = append(pairs, []any{r.json(depth - 1), r.json(depth - 1)})
		}
		return map[string]any{"map": pairs}
	case majorTag:
		_, tag := r.head()
		return map[string]any{"tag": tag, "value": r.json(depth - 1)}
	}
	if r.null() {
		return nil
	}
	return r.bool()
}

// bool reads false or true.
func (r *reader) bool() bool {
	major, n := r.head()
	if major != majorSimple || n != simpleFalse&0x1f && n != simpleTrue&0x1f {
		r.malformed("want false, true or null")
	}
	return n == simpleTrue&0x1f
}

// json writes what reader.json gave, as encoding/json reads it with numbers left as they are.
func (w *writer) json(v any) error {
	switch v := v.(type) {
	case nil:
		w.null()
	case bool:
		if v {
			w.raw([]byte{simpleTrue})
		} else {
			w.raw([]byte{simpleFalse})
		}
	case string:
		w.text(v)
	case json.Number:
		return w.number(v)
	case []any:
		w.array(len(v))
		return w.jsonItems(v)
	case map[string]any:
		return w.jsonObject(v)
	}
	return nil
}

func (w *writer) jsonItems(items []any) error {
	for _, item := range items {
		if err := w.json(item); err != nil {
			return err
		}
	}
	return nil
}

func (w *writer) number(s json.Number) error {
	n, ok := new(big.Int).SetString(string(s), 10)
	major := byte(majorUint)
	if ok && n.Sign() < 0 {
		major = majorNegint
		n.Not(n)
	}
	if !ok || !n.IsUint64() {
		return fmt.Errorf("%w: number %s", ErrMalformed, s)
	}
	w.head(major, n.Uint64())
	return nil
}

// jsonObject writes what JSON has no form of its own for.
func (w *writer) jsonObject(v map[string]any) error {
	malformed := fmt.Errorf("%w: object other than hex, tag with value, or map", ErrMalformed)
	if s, ok := v["hex"].(string); ok && len(v) == 1 {
		b, err := hex.DecodeString(s)
		w.bytes(b)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrMalformed, err)
		}
		return nil
	}
	if pairs, ok := v["map"].([]any); ok && len(v) == 1 {
		w.head(majorMap, uint64(len(pairs)))
		for _, p := range pairs {
			pair, ok := p.([]any)
			if !ok || len(pair) != 2 {
				return malformed
			}
			if err := w.jsonItems(pair); err != nil {
				return err
			}
		}
		return nil
	}
	tag, ok := v["tag"].(json.Number)
	value, present := v["value"]
	n, err := strconv.ParseUint(string(tag), 10, 64)
	if !ok || !present || err != nil || len(v) != 2 {
		return malformed
	}
	w.head(majorTag, n)
	return w.json(value)
}

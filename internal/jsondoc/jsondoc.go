// Package jsondoc writes a JSON document of a list, whose items are written as they are
// found, and of what sums them up behind it.
package jsondoc

import (
	"encoding/json"
	"fmt"
	"io"
)

// Document is one that is being written, by one goroutine.
type Document struct {
	w     io.Writer
	list  string
	began bool
}

// New returns a document whose list has this name.
func New(w io.Writer, list string) *Document { return &Document{w: w, list: list} }

// Add writes an item, on a line of its own.
func (d *Document) Add(item any) error {
	line, err := json.Marshal(item)
	if err != nil {
		return err
	}
	begin := ",\n  "
	if !d.began {
		d.began = true
		begin = fmt.Sprintf("{%q:[\n  ", d.list)
	}
	_, err = fmt.Fprintf(d.w, "%s%s", begin, line)
	return err
}

// End writes the fields of summary, a struct with some, and ends the document.
func (d *Document) End(summary any) error {
	text, err := json.Marshal(summary)
	if err != nil {
		return err
	}
	begin := "\n],"
	if !d.began {
		begin = fmt.Sprintf("{%q:[],", d.list)
	}
	// The summary is an object too: without its brace it goes on with the document.
	_, err = fmt.Fprintf(d.w, "%s%s\n", begin, text[1:])
	return err
}

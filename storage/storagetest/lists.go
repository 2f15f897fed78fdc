package storagetest

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"reprise/recording"
	"reprise/storage"
)

var listTests = map[string]func(*suite){
	"list/everything": testList,
	"list/deletes":    testListDeletes,
	"list/stops":      testListStops,
}

func testList(s *suite) {
	s.wantEmpty()
	begin := time.Now().Add(-time.Minute) // the storage's clock may be another
	s.put("a/one", Pattern(1, 1000))
	u := s.newUpload()
	u.send(false, Pattern(1, 3000))
	u.send(false, Pattern(2, 1000))
	found := s.entries()
	objects, uploads := found[recording.StoredObject], found[recording.StoredParts]
	if len(objects) != 1 || objects[0].Key != "a/one" || objects[0].SizeBytes != 1000 || objects[0].ModifiedAt.Before(begin) {
		s.Errorf("objects: %+v", objects)
	}
	switch want := u.outsideLedger(); {
	case want == 0 && len(uploads) == 0:
	case len(uploads) != 1, uploads[0].UploadID != u.row.ID, uploads[0].SizeBytes != want, uploads[0].ModifiedAt.Before(begin):
		s.Errorf("uploads: %+v, want one of %d bytes", uploads, want)
	}
	u.assemble()
	u.discard()
	found = s.entries()
	if len(found) != 1 || len(found[recording.StoredObject]) != 2 {
		s.Errorf("after Assemble and DiscardParts: %+v", found)
	}
}

// The janitor deletes what it is given.
func testListDeletes(s *suite) {
	want := 300
	var group sync.WaitGroup
	for range 10 {
		group.Go(func() {
			for range 30 {
				if _, err := s.store.Put(s.ctx, "many/"+uuid.NewString(), strings.NewReader("")); err != nil {
					s.Errorf("Put: %v", err)
				}
			}
		})
	}
	group.Wait()
	for range 3 {
		u := s.newUpload()
		u.send(false, Pattern(1, 10))
		if u.outsideLedger() > 0 {
			want++
		}
	}
	n := 0
	err := s.store.List(s.ctx, func(entry storage.Entry) error {
		n++
		return s.store.Remove(s.ctx, entry)
	})
	if n != want || err != nil {
		s.Errorf("List reported %d entries of %d: %v", n, want, err)
	}
	s.wantEmpty()
}

func testListStops(s *suite) {
	s.put("one", nil)
	s.put("two", nil)
	enough := errors.New("enough")
	n := 0
	err := s.store.List(s.ctx, func(storage.Entry) error { n++; return enough })
	if n != 1 || !errors.Is(err, enough) {
		s.Errorf("List = %v after %d entries", err, n)
	}
	canceled, cancel := context.WithCancel(s.ctx)
	cancel()
	err = s.store.List(canceled, func(storage.Entry) error { return nil })
	if !errors.Is(err, context.Canceled) {
		s.Errorf("List = %v, want context.Canceled", err)
	}
}

package s3

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"reprise/internal/s3test"
	"reprise/recording"
	"reprise/storage"
)

func entries(t *testing.T, s *Store) []storage.Entry {
	t.Helper()
	var all []storage.Entry
	err := s.List(t.Context(), func(e storage.Entry) error {
		if age := time.Since(e.ModifiedAt); age > time.Hour || age < -time.Hour {
			t.Errorf("%+v is not of now", e)
		}
		all = append(all, e)
		return nil
	})
	if err != nil {
		t.Fatalf("List: %v", err)
	}
	slices.SortFunc(all, func(a, b storage.Entry) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Key, b.Key), cmp.Compare(a.UploadID.String(), b.UploadID.String()))
	})
	return all
}

func wantEntries(t *testing.T, s *Store, want ...storage.Entry) {
	t.Helper()
	if diff := gocmp.Diff(want, entries(t, s), cmpopts.IgnoreFields(storage.Entry{}, "ModifiedAt"), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("List (-want +got):\n%s", diff)
	}
}

// A bucket holds more than a store's prefix.
func TestListForeign(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, server *s3test.Server) {
		bucket := server.Bucket(t)
		s := newStore(t, strings.Replace(server.URL(bucket), "?", "/pre/fix?", 1))
		other := newStore(t, strings.Replace(server.URL(bucket), "?", "/pre/fix2?", 1))
		whole := newStore(t, server.URL(bucket))
		for _, name := range []string{"pre/fix/objects/.hidden", "pre/fix/parts/x/1-1", "pre/fix/other", "pre/fix/objects2/x", "objects/a b"} {
			server.Put(t, bucket, name, []byte("foreign"))
		}
		wantEntries(t, s)
		id := recording.NewID()
		for _, s := range []*Store{s, other} {
			put(t, s, "a/object", []byte("x"))
			if _, err := s.put(t.Context(), s.segmentName(id, 1, 1), newBody([]byte("segment"))); err != nil {
				t.Fatal(err)
			}
		}
		multipartID, err := s.begin(t.Context(), s.objectName("b/object"))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{other.objectName("c"), "pre/fix/other", s.objectName(".hidden")} {
			if _, err := s.begin(t.Context(), name); err != nil {
				t.Fatal(err)
			}
		}
		multi := storage.Entry{Kind: recording.StoredMultipart, Key: "b/object", MultipartID: multipartID}
		object := storage.Entry{Kind: recording.StoredObject, Key: "a/object", SizeBytes: 1}
		parts := storage.Entry{Kind: recording.StoredParts, UploadID: id, SizeBytes: 7}
		wantEntries(t, s, multi, object, parts)
		wantEntries(t, whole)
		for _, entry := range []storage.Entry{multi, object, parts} {
			for range 2 { // the second time there is nothing
				if err := s.Remove(t.Context(), entry); err != nil {
					t.Errorf("Remove of %+v: %v", entry, err)
				}
			}
		}
		wantEntries(t, s)
		if got := entries(t, other); len(got) != 3 {
			t.Errorf("the other prefix has %+v", got)
		}
		if err := s.Remove(t.Context(), storage.Entry{Kind: recording.StoredTemp, Key: "x"}); err == nil {
			t.Error("Remove of what isn't there in S3 succeeds")
		}
	})
}

// More than a page, which ends amid the segments of an upload.
func TestListPages(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, server *s3test.Server) {
		s := newStore(t, server.URL(server.Bucket(t)))
		const uploads, segments = 3, 350
		var want []storage.Entry
		for range uploads {
			want = append(want, storage.Entry{Kind: recording.StoredParts, UploadID: recording.NewID(), SizeBytes: segments})
		}
		var group sync.WaitGroup
		for i := range 10 {
			group.Go(func() {
				for n := i; n < uploads*segments; n += 10 {
					name := s.segmentName(want[n%uploads].UploadID, n, 1)
					if _, err := s.put(t.Context(), name, newBody([]byte("x"))); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		group.Wait()
		slices.SortFunc(want, func(a, b storage.Entry) int { return cmp.Compare(a.UploadID.String(), b.UploadID.String()) })
		wantEntries(t, s, want...)
		if err := s.Remove(t.Context(), want[0]); err != nil {
			t.Errorf("Remove: %v", err)
		}
		wantEntries(t, s, want[1:]...)
	})
}

// What Check writes is nothing that somebody would clear away.
func TestCheck(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, server *s3test.Server) {
		proxy, bucket := server.Proxy(t), server.Bucket(t)
		s := newStore(t, proxy.URL(bucket))
		for range 3 {
			if err := s.Check(t.Context()); err != nil {
				t.Errorf("Check: %v", err)
			}
		}
		wantCounts(t, "Check", proxy, map[string]int{"PutObject": 3})
		wantEntries(t, s)
		if keys := fmt.Sprint(server.Keys(t, bucket)); keys != "[check]" {
			t.Errorf("the bucket has %s", keys)
		}
	})
}

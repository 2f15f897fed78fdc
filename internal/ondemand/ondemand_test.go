package ondemand

import (
	"errors"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestOffer(t *testing.T) {
	t.Parallel()
	started, stopped := 0, 0
	o, err := New(func() (string, func(), error) { started++; return "here", func() { stopped++ }, nil })
	if err != nil {
		t.Fatal(err)
	}
	var askers sync.WaitGroup
	for range 3 {
		askers.Go(func() {
			if where, err := Ask[string](t.Context(), o.URL()); where != "here" || err != nil {
				t.Errorf("it is at %q, %v", where, err)
			}
		})
	}
	askers.Wait()
	o.Stop()
	if started != 1 || stopped != 1 {
		t.Errorf("it was started %d and stopped %d times", started, stopped)
	}
	if _, err := Ask[string](t.Context(), o.URL()); err == nil {
		t.Error("an offer that has ended answers")
	}
}

func TestOfferNothing(t *testing.T) {
	t.Parallel()
	unneeded, err := New(func() (string, func(), error) { t.Error("started"); return "", nil, nil })
	if err != nil {
		t.Fatal(err)
	}
	unneeded.Stop()
	broken, err := New(func() (string, func(), error) { return "", nil, errors.New("no room") })
	if err != nil {
		t.Fatal(err)
	}
	defer broken.Stop()
	for range 2 {
		if _, err := Ask[string](t.Context(), broken.URL()); err == nil || !strings.Contains(err.Error(), "no room") {
			t.Errorf("got %v", err)
		}
	}
}

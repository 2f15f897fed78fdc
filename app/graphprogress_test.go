package app

import (
	"strings"
	"testing"
	"time"

	"reprise/graphsync"
	"reprise/recording"
)

func TestGraphProgress(t *testing.T) {
	t.Parallel()
	const resumed = "going on with the rebuild that was interrupted; --restart begins anew\n"
	for name, tt := range map[string]struct {
		told []graphsync.Progress
		want string
	}{
		"rows": {
			[]graphsync.Progress{
				{Kind: recording.GraphUser, Total: 30},
				{Kind: recording.GraphStory, Written: 10, Total: 30, Took: time.Second}, // too soon for another line
				{Written: 30, Total: 30, Took: 2 * time.Second},
			},
			"0 of 30 rows, 0 a second, at kind user\n30 of 30 rows, 15 a second\ncomparing both sides\n",
		},
		"resumed": {
			[]graphsync.Progress{
				{Kind: recording.GraphStory, Resumed: true, Total: 30},
				{Resumed: true, Written: 20, Total: 20, Took: time.Second},
			},
			resumed + "0 of at most 30 rows, 0 a second, at kind story\n20 of 20 rows, 20 a second\ncomparing both sides\n",
		},
		"resumed at its end": {
			[]graphsync.Progress{{Kind: recording.GraphRecording, Resumed: true, Total: 30}, {Resumed: true, Took: time.Second}},
			resumed + "0 of at most 30 rows, 0 a second, at kind recording\nno rows are left to write\ncomparing both sides\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out strings.Builder
			p := newGraphProgress(&out)
			for _, at := range tt.told {
				p.tell(at)
			}
			if out.String() != tt.want {
				t.Errorf("%q, want %q", out.String(), tt.want)
			}
		})
	}
}

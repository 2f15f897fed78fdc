package graphsync

import (
	"context"
	"errors"
	"maps"
	"time"

	"github.com/neo4j/neo4j-go-driver/v5/neo4j"
)

const (
	// warmPause is how often it is looked whether Neo4j is there, or was started again.
	warmPause = 10 * time.Second
	// warmTime is how long it may take to plan a question for the first time.
	warmTime = time.Minute
)

// KeepWarm asks everything once when Neo4j is there, and again when it was away, until ctx
// ends: planning a question for the first time takes a server that has just been started
// seconds, which nobody should wait for.
func (q *Questions) KeepWarm(ctx context.Context) error {
	for warm := false; ; {
		if warm {
			warm = q.graph.Ping(ctx) == nil
		} else {
			warm = q.warm(ctx) == nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(warmPause):
		}
	}
}

// warm asks everything about nobody's graph.
func (q *Questions) warm(ctx context.Context) (err error) {
	if err := q.graph.Ping(ctx); err != nil {
		return err
	}
	for statement, params := range questions() {
		err = errors.Join(err, q.warmOne(ctx, statement, params))
	}
	return err
}

func (q *Questions) warmOne(ctx context.Context, statement string, params map[string]any) error {
	ctx, cancel := context.WithTimeout(ctx, warmTime)
	defer cancel()
	session := q.graph.driver.NewSession(ctx, neo4j.SessionConfig{AccessMode: neo4j.AccessModeRead})
	defer session.Close(ctx)
	result, err := session.Run(ctx, statement, params, neo4j.WithTxTimeout(warmTime))
	if err != nil {
		return err
	}
	_, err = result.Consume(ctx)
	return err
}

// questions are all statements of Questions, with values for their parameters of which
// nothing is found. (Neo4j keeps plans by the types of these.)
func questions() map[string]map[string]any {
	nobody := func(more map[string]any) map[string]any {
		params := map[string]any{
			"score": 1, "recordings": 1, "limit": 1, "most": 1, "ring": []string{"x"}, "known": []string{"x"}, "ids": []string{"x"},
			"shared": []map[string]any{{"id": "x", "rarity": 1.0, "weight": 1.0}}, "at": time.Unix(0, 0).UTC(), "before": time.Unix(1, 0).UTC(),
		}
		for _, name := range []string{"owner", "id", "story", "entity", "after", "prefix", "kind", "from", "to"} {
			params[name] = "x"
		}
		maps.Copy(params, more)
		return params
	}
	list := map[string]map[string]any{}
	for _, statement := range []string{
		entitiesOf, relatedTo, listEntities, oneEntity, listMentions, occursWith, oneNode, shortest, firstRing, secondRing, edgesBetween, aroundRecordings,
	} {
		list[statement] = nobody(nil)
	}
	for _, recordings := range []string{allRecordings, recordingsInStory, recordingsWithEntity, recordingsWithBoth} {
		list[recordings+pageOfTimeline] = nobody(map[string]any{"from": time.Unix(0, 0).UTC()})
	}
	return list
}

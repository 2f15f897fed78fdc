package catalog

import (
	"context"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"reprise/recording"
)

// tagged is a search with the tags of its filters: see tagsOfSearch.
type tagged struct {
	recording.Search
	tags [][]string
}

// tagsOfSearch makes lists of tags of the filters of a search: a document passes that has
// one of each.
func tagsOfSearch(ctx context.Context, q querier, owner uuid.UUID, s recording.Search) ([][]string, error) {
	var lists [][]string
	if s.StoryID != uuid.Nil {
		lists = append(lists, []string{storyTag(s.StoryID)})
	}
	for _, f := range []struct {
		in, name string
		kinds    []recording.EntityKind
	}{
		{inTopic, s.Topic, []recording.EntityKind{recording.EntityTopic}},
		{inEntity, s.Entity, []recording.EntityKind{recording.EntityPerson, recording.EntityPlace, recording.EntityOrganization, recording.EntityDate}},
	} {
		if f.name == "" {
			continue
		}
		tags, err := aliases(ctx, q, owner, f.kinds, f.name)
		if err != nil {
			return nil, err
		}
		for i, alias := range tags {
			tags[i] = nameTag(f.in, alias)
		}
		lists = append(lists, tags)
	}
	return lists, nil
}

// aliases returns the keys that recordings have of what an owner calls name: that of the
// name, and those of what is renamed to it, or merged with either.
func aliases(ctx context.Context, q querier, owner uuid.UUID, kinds []recording.EntityKind, name string) ([]string, error) {
	rows, err := q.Query(ctx, `
		SELECT coalesce(merged_into, id), name, key FROM entities WHERE owner_id = $1 AND kind = ANY($2) AND key = $3
		UNION SELECT coalesce(merged_into, id), name, key FROM entities WHERE owner_id = $1 AND kind = ANY($2) AND (renamed OR merged_into IS NOT NULL)`,
		owner, kinds, keyOf(name))
	if err != nil {
		return nil, err
	}
	var roots []uuid.UUID
	var root uuid.UUID
	var called, key string
	_, err = pgx.ForEachRow(rows, []any{&root, &called, &key}, func() error {
		if key == keyOf(name) || keyOf(called) == keyOf(name) {
			roots = append(roots, root)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	rows, err = q.Query(ctx, `SELECT key FROM entities WHERE id = ANY($1) OR merged_into = ANY($1)`, roots)
	if err != nil {
		return nil, err
	}
	keys, err := pgx.CollectRows(rows, pgx.RowTo[string])
	keys = append(keys, keyOf(name))
	slices.Sort(keys)
	return slices.Compact(keys), err
}

// keyOf is the same for names that differ in case, punctuation or spaces.
func keyOf(name string) string { return strings.Join(words(name), " ") }

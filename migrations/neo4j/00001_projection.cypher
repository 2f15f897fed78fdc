// Whatever the graph shows is a node of this label, found by its id. A tombstone has no
// other label, so a constraint on any other would let a late event make a second node.
CREATE CONSTRAINT projected_id IF NOT EXISTS FOR (n:Projected) REQUIRE n.id IS UNIQUE;

// To purge tombstones by their age.
CREATE INDEX projected_deleted_at IF NOT EXISTS FOR (n:Projected) ON (n.deletedAt);

// Questions begin with whose recordings or entities they are about.
CREATE INDEX recording_owner_at IF NOT EXISTS FOR (n:Recording) ON (n.ownerId, n.at);
CREATE INDEX entity_owner IF NOT EXISTS FOR (n:Entity) ON (n.ownerId);

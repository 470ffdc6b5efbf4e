-- Restarts the lease of entries where the consumer still owns them, and
-- leaves their delivery counts. Entries that the stream no longer has are
-- left as they are.
--
-- KEYS[1]  stream
-- ARGV     group, consumer, the lowest id, then the id of each entry
-- Returns  1 for each entry that is owned, 0 for the others
local ids = {}
for i = 4, #ARGV do
  table.insert(ids, ARGV[i])
end
return restart(KEYS[1], ARGV[1], ARGV[2], ARGV[3], ids)

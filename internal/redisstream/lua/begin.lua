-- Restarts the lease of entries and sets their delivery count, where the
-- consumer still owns them. Entries that the stream no longer has are left as
-- they are.
--
-- KEYS[1]  stream
-- ARGV     group, consumer, the lowest id, then id and delivery count of each entry
-- Returns  1 for each entry that is owned, 0 for the others
local ids, counts = {}, {}
for i = 4, #ARGV, 2 do
  table.insert(ids, ARGV[i])
  table.insert(counts, ARGV[i + 1])
end
return restart(KEYS[1], ARGV[1], ARGV[2], ARGV[3], ids, counts)

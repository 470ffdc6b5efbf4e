-- Restarts the lease of entries and sets their delivery count, where the
-- consumer still owns them: a stale owner would steal with a bare XCLAIM.
-- Entries that the stream no longer has are left as they are.
--
-- KEYS[1]  stream
-- ARGV     group, consumer, then id and delivery count of each entry
-- Returns  1 for each entry that is owned, 0 for the others
local ids = {}
for i = 3, #ARGV, 2 do
  ids[#ids + 1] = ARGV[i]
end
local counts, there = held(KEYS[1], ARGV[1], ARGV[2], ids)
local owned, byCount = {}, {}
for i, id in ipairs(ids) do
  owned[i] = counts[id] and 1 or 0
  if counts[id] and there[id] then
    put(byCount, ARGV[2 * i + 2], id)
  end
end
restart(KEYS[1], ARGV[1], ARGV[2], byCount)
return owned

-- Restarts the lease of entries where the consumer still owns them, and
-- leaves their delivery counts. Entries that the stream no longer has are
-- left as they are, as in begin.lua.
--
-- KEYS[1]  stream
-- ARGV     group, consumer, then the id of each entry
-- Returns  1 for each entry that is owned, 0 for the others
local owned = {}
for i = 3, #ARGV do
  local id = ARGV[i]
  local mine = redis.call('XPENDING', KEYS[1], ARGV[1], id, id, 1, ARGV[2])[1]
  if mine and #redis.call('XRANGE', KEYS[1], id, id) > 0 then
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, id, 'RETRYCOUNT', mine[4], 'JUSTID')
  end
  owned[#owned + 1] = mine and 1 or 0
end
return owned

-- Restarts the lease of entries and sets their delivery count, where the
-- consumer still owns them: a stale owner would steal with a bare XCLAIM.
-- XCLAIM would drop an entry that the stream no longer has from the pending
-- list, so those are left as they are.
--
-- KEYS[1]  stream
-- ARGV     group, consumer, then id and delivery count of each entry
-- Returns  1 for each entry that is owned, 0 for the others
local owned = {}
for i = 3, #ARGV, 2 do
  local id = ARGV[i]
  local mine = #redis.call('XPENDING', KEYS[1], ARGV[1], id, id, 1, ARGV[2]) > 0
  if mine and #redis.call('XRANGE', KEYS[1], id, id) > 0 then
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, id, 'RETRYCOUNT', ARGV[i + 1], 'JUSTID')
  end
  owned[#owned + 1] = mine and 1 or 0
end
return owned

-- Removes consumers that hold nothing and have been idle for long. One that
-- holds entries is never removed: its entries would be lost. One that comes
-- back is told by the count of removals that its group is the same as before.
--
-- KEYS[1]  stream
-- KEYS[2]  what is kept of the group, see look.lua; pruned, how many were removed;
--          may be left out
-- ARGV     group, idle ms to exceed, the only consumer to look at or '',
--          a consumer to leave alone or ''
-- Returns  how many were removed
local removed = 0
for _, flat in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  local consumer = map(flat)
  local meant = (ARGV[3] == '' or ARGV[3] == consumer.name) and ARGV[4] ~= consumer.name
  if meant and consumer.pending == 0 and consumer.idle > tonumber(ARGV[2]) then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], consumer.name)
    removed = removed + 1
  end
end
if KEYS[2] and removed > 0 and tonumber(ARGV[2]) >= 0 then -- else it leaves by itself
  redis.call('HINCRBY', KEYS[2], 'pruned', removed)
end
return removed

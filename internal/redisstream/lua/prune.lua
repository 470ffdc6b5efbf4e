-- Removes consumers that hold nothing and have been idle for long. One that
-- holds entries is never removed: its entries would be lost.
--
-- KEYS[1]  stream
-- ARGV     group, idle ms to exceed, the only consumer to look at or ''
-- Returns  how many were removed
local removed = 0
for _, flat in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  local consumer = map(flat)
  local meant = ARGV[3] == '' or ARGV[3] == consumer.name
  if meant and consumer.pending == 0 and consumer.idle > tonumber(ARGV[2]) then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], consumer.name)
    removed = removed + 1
  end
end
return removed

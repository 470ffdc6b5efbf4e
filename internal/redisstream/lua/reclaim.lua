-- Takes over entries that have been idle for long, without counting a
-- delivery. Entries that the stream no longer has are removed from the
-- pending list: by XAUTOCLAIM from Redis 7 on, here before.
--
-- KEYS[1]  stream
-- ARGV     group, consumer, least idle ms, id to go on at, count
-- Returns  {{id, deliveries, {field, value, ...}}, ...}, {trimmed id, ...}, id to go on at
local entries, trimmed = {}, {}
local claimed = redis.call('XAUTOCLAIM', KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4], 'COUNT', ARGV[5], 'JUSTID')
for _, id in ipairs(claimed[2]) do
  local found = redis.call('XRANGE', KEYS[1], id, id)
  if #found > 0 then
    local pending = redis.call('XPENDING', KEYS[1], ARGV[1], id, id, 1)
    entries[#entries + 1] = {id, pending[1][4], found[1][2]}
  else
    redis.call('XACK', KEYS[1], ARGV[1], id)
    trimmed[#trimmed + 1] = id
  end
end
for _, id in ipairs(claimed[3] or {}) do
  trimmed[#trimmed + 1] = id
end
return {entries, trimmed, claimed[1]}

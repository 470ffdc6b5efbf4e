-- Lists a consumer's own pending entries without counting a delivery.
-- Entries that the stream no longer has are removed from the pending list.
--
-- KEYS[1]  stream
-- ARGV     group, consumer, id to begin at, count
-- Returns  {{id, deliveries, {field, value, ...}}, ...}, {trimmed id, ...}, id of the last one seen or ''
local entries, trimmed, last = {}, {}, ''
local pending = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[3], '+', ARGV[4], ARGV[2])
for _, p in ipairs(pending) do
  last = p[1]
  local found = redis.call('XRANGE', KEYS[1], last, last)
  if #found > 0 then
    entries[#entries + 1] = {last, p[4], found[1][2]}
  else
    redis.call('XACK', KEYS[1], ARGV[1], last)
    trimmed[#trimmed + 1] = last
  end
end
return {entries, trimmed, last}

-- Stores dead letters, unless others have been stored that the caller has not
-- seen: one of them might be the same.
--
-- KEYS[1]  stream of a group's dead letters
-- ARGV     the least id that the caller has not seen, then for each letter the
--          number of its names and values, and these
-- Returns  the id of the last letter stored, or '' when there are unseen ones
if #redis.call('XRANGE', KEYS[1], ARGV[1], '+', 'COUNT', 1) > 0 then
  return ''
end
local last = ''
local i = 2
while i <= #ARGV do
  local count = tonumber(ARGV[i])
  last = redis.call('XADD', KEYS[1], '*', unpack(ARGV, i + 1, i + count))
  i = i + 1 + count
end
return last

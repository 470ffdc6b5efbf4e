-- Counts entries without sending them.
--
-- KEYS[1]  stream
-- ARGV     ids to begin at and to end before, most to count
-- Returns  entries, id of the last of them or ''
local entries = redis.call('XRANGE', KEYS[1], ARGV[1], '(' .. ARGV[2], 'COUNT', ARGV[3])
return {#entries, #entries > 0 and entries[#entries][1] or ''}

-- Gives pending entries of a consumer that has been idle for long to another
-- one, a page at a time, as they are: with their delivery counts, and idle for
-- as long as they were. So whoever takes over idle entries finds them at once.
-- Entries that the stream no longer has are removed from the pending list, for
-- nobody can handle them.
--
-- KEYS[1]  stream
-- ARGV     group, consumer that holds them, idle ms that it must exceed,
--          consumer that gets them, idle ms that this one must not exceed,
--          most to move
-- Returns  moved, gone, 1 when the consumers were as expected
local seen = {}
for _, flat in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  local consumer = map(flat)
  seen[consumer.name] = consumer.idle
end
local from, to = seen[ARGV[2]], seen[ARGV[4]]
if not from or not to or from <= tonumber(ARGV[3]) or to > tonumber(ARGV[5]) then
  return {0, 0, 0}
end
local moved, gone = 0, 0
for _, p in ipairs(redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', ARGV[6], ARGV[2])) do
  local id = p[1]
  if #redis.call('XRANGE', KEYS[1], id, id) > 0 then
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[4], 0, id, 'IDLE', p[3], 'RETRYCOUNT', p[4], 'JUSTID')
    moved = moved + 1
  else
    redis.call('XACK', KEYS[1], ARGV[1], id)
    gone = gone + 1
  end
end
return {moved, gone, 1}

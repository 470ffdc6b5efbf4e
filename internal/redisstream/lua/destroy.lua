-- Removes a group from a stream, when the caller knows what goes with it.
-- Dead letters stay, and so does what was redriven and not settled.
--
-- KEYS[1]  stream
-- KEYS[2]  what is kept of the group
-- KEYS[3]  stream of what is redriven to the group
-- ARGV     group, 'yes' to remove it though entries are unread or redriven,
--          pending entries that may be lost, idle ms below which a consumer is
--          live, 'look' to change nothing
-- Returns  'no stream', 'no group', 'held' or 'done', pending entries, 1 when some are
--          unread, redriven entries, live consumers, id that the group is at
if redis.call('EXISTS', KEYS[1]) == 0 then
  return {'no stream', 0, 0, 0, 0, ''}
end
local group
for _, flat in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
  local candidate = map(flat)
  if candidate.name == ARGV[1] then
    group = candidate
  end
end
local redriven = redis.call('XLEN', KEYS[3])
if not group then
  return {'no group', 0, 0, redriven, 0, ''}
end
local at = group['last-delivered-id']
local unread = #redis.call('XREVRANGE', KEYS[1], '+', '(' .. at, 'COUNT', 1)
local live = 0
for _, flat in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  if map(flat).idle < tonumber(ARGV[4]) then
    live = live + 1
  end
end
local refused = live > 0 or group.pending ~= tonumber(ARGV[3]) or (unread + redriven > 0 and ARGV[2] ~= 'yes')
if refused or ARGV[5] == 'look' then
  return {'held', group.pending, unread, redriven, live, at}
end
redis.call('XGROUP', 'DESTROY', KEYS[1], ARGV[1])
redis.call('DEL', KEYS[2])
if redriven == 0 then
  redis.call('DEL', KEYS[3])
end
return {'done', group.pending, unread, redriven, 0, at}

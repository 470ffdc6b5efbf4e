-- Creates a group of a stream, or moves one back. What is kept of the group
-- follows, so that a group which is destroyed afterwards begins there, and so
-- that its consumers know that what they are given again is no loss.
--
-- The server cannot tell how many entries a group has read that begins in the
-- middle of a stream. It is told where that is exactly known: what was ever
-- added, less what stands behind the place. The caller has counted most of
-- these; that holds as long as nothing was removed since.
--
-- KEYS[1]  stream
-- KEYS[2]  what is kept of the group, a hash: see look.lua; rewound, the place
--          to which it was moved back last and when
-- ARGV     group, 'create', 'make' to create the stream too, or 'back',
--          id behind which the group begins or '$', entries counted behind it
--          or '', id of the last one counted, entries removed from the stream
--          when the count began
-- Returns  what was found, id that the group was at or '', number of pending entries;
--          found: 'no stream', 'no group', 'exists', 'not back' (nothing was changed), 'done'
local group, what, place = ARGV[1], ARGV[2], ARGV[3]
if redis.call('EXISTS', KEYS[1]) == 0 then
  if what ~= 'make' then
    return {'no stream', '', 0}
  end
  redis.call('XGROUP', 'CREATE', KEYS[1], group, place, 'MKSTREAM')
  redis.call('HDEL', KEYS[2], 'at', 'pending', 'read', 'found')
  return {'done', '', 0}
end

local stream = map(redis.call('XINFO', 'STREAM', KEYS[1]))
local at, pending
for _, flat in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
  local candidate = map(flat)
  if candidate.name == group then
    at, pending = candidate['last-delivered-id'], candidate.pending
  end
end
if what ~= 'back' and at then
  return {'exists', at, pending}
elseif what == 'back' and not at then
  return {'no group', '', 0}
elseif what == 'back' and not below(place, at) then
  return {'not back', at, pending}
end

local added, length = stream['entries-added'], stream.length
local behind -- entries behind the place, where that is known
if place == '0-0' then
  behind = length
elseif place == '$' then
  behind = 0
elseif added and ARGV[4] ~= '' and string.format('%.0f', added - length) == ARGV[6] then
  local since = #redis.call('XRANGE', KEYS[1], '(' .. ARGV[5], '+', 'COUNT', 1000)
  behind = since < 1000 and tonumber(ARGV[4]) + since
end
local read = added and behind and string.format('%.0f', added - behind)

local command = {'XGROUP', what == 'back' and 'SETID' or 'CREATE', KEYS[1], group, place}
if read then
  command[#command + 1] = 'ENTRIESREAD'
  command[#command + 1] = read
end
redis.call(unpack(command))
if redis.call('EXISTS', KEYS[2]) == 1 then
  redis.call('HDEL', KEYS[2], 'at', 'pending', 'read', 'found')
  if read then
    redis.call('HSET', KEYS[2], 'read', read, 'found', 0)
  end
  if what == 'back' then
    local first = redis.call('XPENDING', KEYS[1], group, '-', place, 1)[1]
    local clock = redis.call('TIME')
    redis.call('HSET', KEYS[2], 'at', place, 'pending', first and first[1] or '',
      'rewound', place .. ' ' .. clock[1] .. '.' .. clock[2])
  end
end
return {'done', at or '', pending or 0}

-- Removes the entries of a stream that are old enough and that every group has
-- settled, and tells what each group has not settled. It is one step, so that
-- a group that somebody creates at an old place loses nothing to it. A group
-- that was destroyed is created again where it was, and counts from there.
--
-- KEYS[1]  stream
-- KEYS[2…] what is kept of groups, see look.lua
-- ARGV     age in ms from which on entries may go, then what to remove:
--          '~' whole nodes of the stream, as many as the server takes at once;
--          '=' all; '' nothing; then the names of the groups of KEYS[2…]
-- Returns  nothing where there is no stream; else the server's time in ms, the
--          id below which entries are old enough, the one below which they may
--          go, entries before, removed, the first entry's id or '', then
--          {group, lowest unsettled id or '', 1 when that is pending, else 0,
--          1 when the group is gone, else 0}...
if redis.call('EXISTS', KEYS[1]) == 0 then
  return {}
end
local stream = map(redis.call('XINFO', 'STREAM', KEYS[1]))
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local cutoff = string.format('%.0f-0', math.max(now - ARGV[1], 0))
local floor = cutoff

local answer = {string.format('%.0f', now), cutoff, '', stream.length, 0, ''}
local function note(group, lowest, pending, gone)
  if lowest and below(lowest, floor) then
    floor = lowest
  end
  answer[#answer + 1] = {group, lowest or '', pending, gone}
end
local there = {}
for _, flat in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
  local group = map(flat)
  local lowest, pending = nil, 0
  if below(group['last-delivered-id'], stream['last-generated-id']) then
    local unread = redis.call('XRANGE', KEYS[1], '(' .. group['last-delivered-id'], '+', 'COUNT', 1)
    lowest = unread[1] and unread[1][1]
  end
  local first = redis.call('XPENDING', KEYS[1], group.name, '-', '+', 1)[1]
  if first and not (lowest and below(lowest, first[1])) then
    lowest, pending = first[1], 1
  end
  there[group.name] = true
  note(group.name, lowest, pending, 0)
end
for i = 2, #KEYS do
  local at, pending = unpack(redis.call('HMGET', KEYS[i], 'at', 'pending'))
  if at and not there[ARGV[i + 1]] then
    local from = pending and pending ~= '' and pending or '(' .. at
    if below(stream['last-generated-id'], at) then
      from = '-' -- the stream is another one by now
    end
    local unread = redis.call('XRANGE', KEYS[1], from, '+', 'COUNT', 1)
    note(ARGV[i + 1], unread[1] and unread[1][1], 0, 1)
  end
end

answer[3] = floor
if ARGV[2] ~= '' then
  answer[5] = redis.call('XTRIM', KEYS[1], 'MINID', ARGV[2], floor)
end
local first = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
if first then
  answer[6] = first[1]
end
return answer

-- Looks at a stream for a group: what is known of the group is kept, so that it
-- can be created again there should it be destroyed, and what was trimmed or
-- deleted before the group read it is found. The server's counts tell that:
-- what was added, less what the group read and what it can still read. How much
-- of that was found before is kept, so that every loss is found once, by one
-- consumer of the group.
--
-- What the group has read is not replicated, and not in the append-only file:
-- after a failover or a restart the count is missing, or an older one. So the
-- counts of a server that has not made the last look, or was started since, are
-- a new beginning. Where a server does not tell which it is, those are that are
-- below what was read at the last look.
--
-- KEYS[1]  stream
-- KEYS[2]  what is kept of the group, a hash: run, the server that made the last
--          look; read, the group's count then; found, the losses in the counts;
--          total, those of all time;
--          at and pending, as returned, of which it is created again should it
--          be destroyed; rewound, where it was moved back to on purpose and when;
--          entered, how often consumers have entered the group; pruned, how many
--          were removed for having been silent
-- ARGV     group, greatest id that the caller was given or '0-0', the caller's name
-- Returns  entries lost unread, 1 when the caller's id is gone though nobody
--          trimmed or deleted it: the server has lost its newest entries;
--          the stream's last id, and of the group, empty where there is none:
--          last id delivered, lowest id pending up to it, number of consumers; rewound;
--          entered; the server that answers, empty where it does not tell;
--          1 when the group did not have the caller: it enters it now; pruned
local stream = map(redis.call('XINFO', 'STREAM', KEYS[1]))
local added, length, final = stream['entries-added'], stream.length, stream['last-generated-id']
local first = length > 0 and stream['first-entry'][1]

local group
for _, flat in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
  local candidate = map(flat)
  if candidate.name == ARGV[1] then
    group = candidate
  end
end
local at = group and group['last-delivered-id']
local new = group and redis.pcall('XGROUP', 'CREATECONSUMER', KEYS[1], ARGV[1], ARGV[3])
local pending = group and redis.call('XPENDING', KEYS[1], ARGV[1], '-', at, 1)[1] -- what lies above is given out again
local kept = map(redis.call('HGETALL', KEYS[2]))
local lowest = pending and pending[1] or ''
if at and (kept.at ~= at or kept.pending ~= lowest) then
  redis.call('HSET', KEYS[2], 'at', at, 'pending', lowest)
end
local about = redis.pcall('INFO', 'server') -- may be forbidden
local run = type(about) == 'string' and string.match(about, 'run_id:(%x+)') or ''
if new and new ~= 0 then -- refused, maybe, and then the others are not known to be others
  group.consumers = group.consumers + 1
end
if new == 1 then
  kept.entered = redis.call('HINCRBY', KEYS[2], 'entered', 1)
end
local back = 0
local function answer(lost)
  return {lost, back, final, at or '', lowest, group and group.consumers or 0, kept.rewound or '',
    tonumber(kept.entered) or 0, run, new == 1 and 1 or 0, tonumber(kept.pruned) or 0}
end
if not added then
  return answer(0) -- the server counts nothing, before Redis 7
end

if below(final, ARGV[2]) then
  back = 1
elseif first and not below(ARGV[2], first) and below(stream['max-deleted-entry-id'], ARGV[2])
  and #redis.call('XRANGE', KEYS[1], ARGV[2], ARGV[2]) == 0 then
  back = 1
end

local unread -- false: not known without counting
if not group then
  unread = false
elseif not below(at, final) then
  unread = 0
elseif not first or below(at, first) then
  unread = length
else
  local some = #redis.call('XRANGE', KEYS[1], '(' .. at, '+', 'COUNT', 10)
  unread = some < 10 and some
end
if not unread then
  return answer(0)
end

local read = group['entries-read']
if not read and at == '0-0' then
  -- It has read nothing yet. What was gone when it was made is not its loss.
  read = tonumber(kept.read) or added - length
end
if not read then
  return answer(0)
end
local lost = math.max(0, added - read - unread)
local found = tonumber(kept.found) or 0
if not kept.read and not (first and below(at, first)) then
  found = lost -- of an earlier time, if at all
elseif kept.read and ((kept.run or run) ~= run or read < tonumber(kept.read)) or lost < found then
  found = lost -- the counts began anew
end
if kept.run ~= run or tonumber(kept.read) ~= read or tonumber(kept.found) ~= lost then
  redis.call('HSET', KEYS[2], 'run', run, 'read', read, 'found', lost)
end
if lost > found then
  redis.call('HINCRBY', KEYS[2], 'total', lost - found)
end
return answer(lost - found)

-- restart restarts the leases of entries where the consumer still owns them: a
-- stale owner would steal with a bare XCLAIM. lowest is the lowest of the ids,
-- counts are the delivery counts that they are to have, or nil for those that
-- they have. It returns 1 for each entry that is owned and 0 for the others.
--
-- Most entries lie side by side and are asked for at once: one by one, the
-- calls would cost more than their work. The entries themselves may be large,
-- so whether they are all there is told by what was trimmed and deleted.
local function restart(key, group, consumer, lowest, ids, counts)
  local pending = {}
  for _, p in ipairs(redis.call('XPENDING', key, group, ids[1], ids[#ids], #ids, consumer)) do
    pending[p[1]] = p[4]
  end
  local stream = map(redis.call('XINFO', 'STREAM', key))
  local first, deleted = stream['first-entry'], stream['max-deleted-entry-id'] -- nil before Redis 7
  local all = first and deleted and not below(lowest, first[1]) and below(deleted, lowest)
  local owned, byCount = {}, {}
  for i, id in ipairs(ids) do
    if not pending[id] then
      local p = redis.call('XPENDING', key, group, id, id, 1, consumer)[1]
      pending[id] = p and p[4]
    end
    owned[i] = pending[id] and 1 or 0
    -- XCLAIM would drop an entry that the stream no longer has from the
    -- pending list.
    if pending[id] and (all or #redis.call('XRANGE', key, id, id) > 0) then
      local count = counts and counts[i] or pending[id]
      byCount[count] = byCount[count] or {key, group, consumer, 0}
      table.insert(byCount[count], id)
    end
  end
  for count, args in pairs(byCount) do
    for _, option in ipairs({'RETRYCOUNT', count, 'JUSTID'}) do
      table.insert(args, option)
    end
    redis.call('XCLAIM', unpack(args))
  end
  return owned
end

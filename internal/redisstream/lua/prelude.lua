-- What several scripts need. It stands before their text.

-- map makes a table of a flat list of names and values.
local function map(flat)
  local m = {}
  for i = 1, #flat, 2 do
    m[flat[i]] = flat[i + 1]
  end
  return m
end

-- below compares ids, as text: Lua's numbers are not exact enough.
local function below(a, b)
  local ams, aseq = string.match(a, '^(%d+)-(%d+)$')
  local bms, bseq = string.match(b, '^(%d+)-(%d+)$')
  if ams == bms then
    ams, bms = aseq, bseq
  end
  if #ams ~= #bms then
    return #ams < #bms
  end
  return ams < bms
end

-- held returns the delivery counts of those of the ids that the consumer has
-- pending, and which of these the stream still has. Most lie side by side and
-- are asked for at once: one by one, the calls would cost more than their work.
local function held(key, group, consumer, ids)
  local counts, there = {}, {}
  for _, p in ipairs(redis.call('XPENDING', key, group, ids[1], ids[#ids], #ids, consumer)) do
    counts[p[1]] = p[4]
  end
  for _, e in ipairs(redis.call('XRANGE', key, ids[1], ids[#ids], 'COUNT', #ids)) do
    there[e[1]] = true
  end
  for _, id in ipairs(ids) do
    if not counts[id] then
      local p = redis.call('XPENDING', key, group, id, id, 1, consumer)[1]
      counts[id] = p and p[4]
    end
    if counts[id] and not there[id] then
      there[id] = #redis.call('XRANGE', key, id, id) > 0
    end
  end
  return counts, there
end

-- restart restarts the leases of entries, of which it is given lists of ids by
-- the delivery count that they are to have. XCLAIM would drop an entry that the
-- stream no longer has from the pending list.
local function restart(key, group, consumer, byCount)
  for count, ids in pairs(byCount) do
    local args = {key, group, consumer, 0}
    for _, id in ipairs(ids) do
      args[#args + 1] = id
    end
    args[#args + 1], args[#args + 2], args[#args + 3] = 'RETRYCOUNT', count, 'JUSTID'
    redis.call('XCLAIM', unpack(args))
  end
end

-- put appends a value to the list of a key.
local function put(lists, key, value)
  local list = lists[key] or {}
  lists[key] = list
  list[#list + 1] = value
end

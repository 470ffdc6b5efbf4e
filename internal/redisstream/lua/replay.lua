-- Copies entries of a stream to the stream that a group alone reads, in the
-- order given, in the form of redrive.lua and with ids made as there.
--
-- KEYS[1]  stream
-- KEYS[2]  stream of what is redriven to the group
-- ARGV     id of each entry
-- Returns  1 for each that was copied, 0 for one that is not there, -1 for one with more
--          fields than a script can pass on
local results = {}
local clock = redis.call('TIME')
local now = string.format('%.0f-%d', clock[1] * 1000 + math.floor(clock[2] / 1000), clock[2] % 1000)
for i, id in ipairs(ARGV) do
  local found = redis.call('XRANGE', KEYS[1], id, id)[1]
  if not found then
    results[i] = 0
  elseif #found[2] > 7000 then
    results[i] = -1
  else
    local fields = found[2]
    for _, text in ipairs({'freshet-stream', KEYS[1], 'freshet-id', id}) do
      fields[#fields + 1] = text
    end
    local added = redis.pcall('XADD', KEYS[2], now, unpack(fields))
    if type(added) == 'table' and added.err then -- not the first of this call
      redis.call('XADD', KEYS[2], '*', unpack(fields))
    end
    results[i] = 1
  end
end
return results

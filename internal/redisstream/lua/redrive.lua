-- Moves dead letters to the stream that their group alone reads, in the order
-- given. The last nine fields of a letter are its own, and the first two of
-- these, the original's stream and id, go with the original's fields.
--
-- The new ids are the server's clock to the microsecond: what is moved later,
-- into whichever stream, has the greater id, and so is read later.
--
-- KEYS[1]  stream of the group's dead letters
-- KEYS[2]  stream of what is redriven to the group
-- ARGV     id of each dead letter
-- Returns  1 for each that was moved, 0 for one that is not there, -1 for one that is no dead letter
local results = {}
local clock = redis.call('TIME')
local now = string.format('%.0f-%d', clock[1] * 1000 + math.floor(clock[2] / 1000), clock[2] % 1000)
for i, id in ipairs(ARGV) do
  local found = redis.call('XRANGE', KEYS[1], id, id)[1]
  local fields = found and found[2]
  if not found then
    results[i] = 0
  elseif fields[#fields - 17] ~= 'freshet-stream' or fields[#fields - 15] ~= 'freshet-id' then
    results[i] = -1
  else
    local added = redis.pcall('XADD', KEYS[2], now, unpack(fields, 1, #fields - 14))
    if type(added) == 'table' and added.err then -- not the first of this call
      redis.call('XADD', KEYS[2], '*', unpack(fields, 1, #fields - 14))
    end
    redis.call('XDEL', KEYS[1], id)
    results[i] = 1
  end
end
return results

-- Moves one dead letter to the stream that its group alone reads, with other
-- fields than the original had. What the letter says of the original's stream
-- and id goes with them, as in redrive.lua.
--
-- KEYS[1]   stream of the group's dead letters
-- KEYS[2]   stream of what is redriven to the group
-- ARGV[1]   id of the dead letter
-- ARGV[2..] names and values of the fields
-- Returns   1 when it was moved, 0 when it is not there, -1 when it is no dead letter
local found = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])[1]
if not found then
  return 0
end
local fields = found[2]
if fields[#fields - 17] ~= 'freshet-stream' or fields[#fields - 15] ~= 'freshet-id' then
  return -1
end
local edited = {}
for i = 2, #ARGV do
  edited[i - 1] = ARGV[i]
end
for i = #fields - 17, #fields - 14 do
  edited[#edited + 1] = fields[i]
end
local clock = redis.call('TIME')
local now = string.format('%.0f-%d', clock[1] * 1000 + math.floor(clock[2] / 1000), clock[2] % 1000)
local added = redis.pcall('XADD', KEYS[2], now, unpack(edited))
if type(added) == 'table' and added.err then -- not the first of this moment
  redis.call('XADD', KEYS[2], '*', unpack(edited))
end
redis.call('XDEL', KEYS[1], ARGV[1])
return 1

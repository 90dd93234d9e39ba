-- Draws the sequence of a new log and enters it in the order. KEYS: order. ARGV: 1 name
local time = redis.call('TIME')
local sequence = time[1] * 1000000 + time[2]
local highest = redis.call('ZRANGE', KEYS[1], 0, 0, 'REV')[1]
if highest then
  sequence = math.max(sequence, tonumber(string.sub(highest, 1, 16)) + 1)
end
sequence = string.format('%016.0f', sequence)
redis.call('ZADD', KEYS[1], 0, sequence .. ':' .. ARGV[1])
return sequence

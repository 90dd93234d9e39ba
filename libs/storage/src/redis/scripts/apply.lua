-- A conditional batch. KEYS: for each space its keys and its values.
-- ARGV: 1 number of conditions; each: number of the space, key, '0' absent or '1' equal, value;
--       then the changes, each: number of the space, key, 'd' delete or 'p' put, value
local at = 2
for _ = 1, tonumber(ARGV[1]) do
  local found = redis.call('HGET', KEYS[2 * ARGV[at]], ARGV[at + 1])
  local wanted = ARGV[at + 2] == '1' and ARGV[at + 3]
  if found ~= wanted then
    return 0
  end
  at = at + 4
end
while at < #ARGV do
  local space = 2 * ARGV[at]
  if ARGV[at + 2] == 'p' then
    redis.call('ZADD', KEYS[space - 1], 0, ARGV[at + 1])
    redis.call('HSET', KEYS[space], ARGV[at + 1], ARGV[at + 3])
  else
    redis.call('ZREM', KEYS[space - 1], ARGV[at + 1])
    redis.call('HDEL', KEYS[space], ARGV[at + 1])
  end
  at = at + 4
end
return 1

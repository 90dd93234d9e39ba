-- A page of a space: keys and values in turn. KEYS: keys, values. ARGV: 1 min, 2 max, 3 count
local keys = redis.call('ZRANGE', KEYS[1], ARGV[1], ARGV[2], 'BYLEX', 'LIMIT', 0, ARGV[3])
if #keys == 0 then
  return {}
end
return {keys, redis.call('HMGET', KEYS[2], unpack(keys))}

-- Raises the epoch, creating the log if it is missing. KEYS: epoch of the shard, head.
-- ARGV: 1 epoch, 2 sequence or ''
local epoch = redis.call('HGET', KEYS[2], 'e')
for _, owner in ipairs({epoch or '', redis.call('GET', KEYS[1]) or ''}) do
  if ARGV[1] < owner then
    return {'fenced', owner}
  end
end
if epoch then
  redis.call('HSET', KEYS[2], 'e', ARGV[1])
  return {'done'}
end
local time = redis.call('TIME')
if ARGV[2] == '' or time[1] - tonumber(ARGV[2]) / 1000000 > 1800 then
  return {'create'}
end
redis.call('HSET', KEYS[2], 'l', '0', 'e', ARGV[1], 'q', ARGV[2], 'u', '0')
return {'created'}

-- Raises the epoch, creating the log if it is missing. KEYS: head. ARGV: 1 epoch, 2 sequence or ''
local epoch = redis.call('HGET', KEYS[1], 'e')
if epoch then
  if ARGV[1] < epoch then
    return {'fenced', epoch}
  end
  redis.call('HSET', KEYS[1], 'e', ARGV[1])
  return {'done'}
end
local time = redis.call('TIME')
if ARGV[2] == '' or time[1] - tonumber(ARGV[2]) / 1000000 > 1800 then
  return {'create'}
end
redis.call('HSET', KEYS[1], 'l', '0', 'e', ARGV[1], 'q', ARGV[2], 'u', '0')
return {'done'}

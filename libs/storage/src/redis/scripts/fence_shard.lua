-- Raises the epoch of a shard. KEYS: epoch of the shard. ARGV: 1 epoch
local epoch = redis.call('GET', KEYS[1])
if epoch and ARGV[1] < epoch then
  return {'fenced', epoch}
end
redis.call('SET', KEYS[1], ARGV[1])
return {'done'}

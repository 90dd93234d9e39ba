-- A page of records with the bounds they must lie in. KEYS: head, records. ARGV: 1 from, 2 count
local head = redis.call('HMGET', KEYS[1], 'l', 'f')
if not head[1] then
  return {}
end
return {head[1], head[2] or '0', redis.call('XRANGE', KEYS[2], ARGV[1], '+', 'COUNT', ARGV[2])}

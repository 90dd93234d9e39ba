-- Removes one creation of a log. KEYS: epoch of the shard, head, records, summary, marks.
-- ARGV: 1 log, 2 epoch, 3 sequence
local head = redis.call('HMGET', KEYS[2], 'e', 'q')
if head[2] ~= ARGV[3] then
  return {'done'}
end
for _, owner in ipairs({head[1], redis.call('GET', KEYS[1]) or ''}) do
  if ARGV[2] < owner then
    return {'fenced', owner}
  end
end
redis.call('UNLINK', KEYS[2], KEYS[3], KEYS[4])
redis.call('SREM', KEYS[5], ARGV[1])
return {'done'}

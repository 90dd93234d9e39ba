-- Removes one creation of a log. KEYS: head, records, summary, marks.
-- ARGV: 1 log, 2 epoch, 3 sequence
local head = redis.call('HMGET', KEYS[1], 'e', 'q')
if head[2] ~= ARGV[3] then
  return {'done'}
end
if ARGV[2] < head[1] then
  return {'fenced', head[1]}
end
redis.call('UNLINK', KEYS[1], KEYS[2], KEYS[3])
redis.call('SREM', KEYS[4], ARGV[1])
return {'done'}

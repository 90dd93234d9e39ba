-- Drops the front of one creation of a log. KEYS: epoch of the shard, head, records.
-- ARGV: 1 epoch, 2 sequence, 3 last index to drop
local head = redis.call('HMGET', KEYS[2], 'e', 'q', 'l', 'f')
if head[2] ~= ARGV[2] then
  return {'done'}
end
for _, owner in ipairs({head[1], redis.call('GET', KEYS[1]) or ''}) do
  if ARGV[1] < owner then
    return {'fenced', owner}
  end
end
local through = math.min(tonumber(ARGV[3]), tonumber(head[3]))
if through > tonumber(head[4] or '0') then
  redis.call('HSET', KEYS[2], 'f', string.format('%.0f', through))
  redis.call('XTRIM', KEYS[3], 'MINID', '=', string.format('%.0f', through + 1))
end
return {'done'}

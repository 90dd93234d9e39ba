-- Drops the front of one creation of a log. KEYS: head, records.
-- ARGV: 1 epoch, 2 sequence, 3 last index to drop
local head = redis.call('HMGET', KEYS[1], 'e', 'q', 'l', 'f')
if head[2] ~= ARGV[2] then
  return {'done'}
end
if ARGV[1] < head[1] then
  return {'fenced', head[1]}
end
local through = math.min(tonumber(ARGV[3]), tonumber(head[3]))
if through > tonumber(head[4] or '0') then
  redis.call('HSET', KEYS[1], 'f', string.format('%.0f', through))
  redis.call('XTRIM', KEYS[2], 'MINID', '=', string.format('%.0f', through + 1))
end
return {'done'}
